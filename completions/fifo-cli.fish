# fish completion for fifo-cli; printed by `fifo-cli completion fish`
function __fifo_cli_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l lines (env FIFO_CLI_COMPLETE=fish $words[1] $words[2..-1] "$current" 2>/dev/null)
    switch "$lines[1]"
        case :files
            set -l prefix (string match -r '^(?:--[^=]*=)?@?' -- "$current")
            set -l path (string replace -r '^(?:--[^=]*=)?@?' '' -- "$current")
            __fish_complete_path "$path" | string replace -r '^' -- "$prefix"
        case :folders
            set -l prefix (string match -r '^(?:--[^=]*=)?' -- "$current")
            set -l path (string replace -r '^(?:--[^=]*=)?' '' -- "$current")
            __fish_complete_directories "$path" | string replace -r '^' -- "$prefix"
        case '*'
            printf '%s\n' $lines
    end
end
complete -c fifo-cli -f -a '(__fifo_cli_complete)'
