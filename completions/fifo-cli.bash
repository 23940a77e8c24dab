# bash completion for fifo-cli; printed by `fifo-cli completion bash`
_fifo_cli() {
    local IFS=$'\n' line current=${COMP_WORDS[COMP_CWORD]}
    local -a lines=()
    COMPREPLY=()
    [[ $current == = ]] && current=
    while read -r line; do
        lines+=("$line")
    done < <(FIFO_CLI_COMPLETE=bash "${COMP_WORDS[0]/#\~/$HOME}" "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    case ${lines[0]-} in
        :files)
            compopt -o filenames 2>/dev/null
            if [[ $current == @* ]]; then
                COMPREPLY=($(compgen -P @ -f -- "${current#@}"))
            else
                COMPREPLY=($(compgen -f -- "$current"))
            fi
            ;;
        :folders)
            compopt -o filenames 2>/dev/null
            COMPREPLY=($(compgen -d -- "$current"))
            ;;
        *)
            for line in ${lines[@]+"${lines[@]}"}; do
                COMPREPLY+=("${line%%$'\t'*}")
            done
            ;;
    esac
}
complete -F _fifo_cli fifo-cli
