"""botocore's errors → ours, in words a person can act on; the most specific rule wins.

``ClientError`` (AWS answered no) is not a ``BotoCoreError`` (we never got that far); SQS keeps its
modelled names in ``QueryErrorCode`` and answers with legacy ones in ``Code``.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, NamedTuple, TypeVar

from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from fifo_cli.aws.foreign_responses import ForeignAnswerError
from fifo_cli.aws.interruptible_calls import GivenUpError
from fifo_cli.errors import AbandonedError, AwsError, FifoError, NotDeployedError, UsageError
from fifo_cli.invocation import aws_command_line, command_line, quoted

T = TypeVar("T")
MISSING: Final = frozenset(
    {
        "QueueDoesNotExist",
        "AWS.SimpleQueueService.NonExistentQueue",
        "ResourceNotFoundException",
        "ResourceNotFound",
        "NoSuchEntity",
        "NoSuchEntityException",
        "ParameterNotFound",
    }
)
DENIED: Final = frozenset(
    {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"}
)
THROTTLED: Final = frozenset(
    {
        "RequestThrottled",
        "KmsThrottled",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "ProvisionedThroughputExceededException",
    }
)
_QUOTA: Final = frozenset(
    {
        "CodeStorageExceededException",
        "LimitExceeded",
        "LimitExceededException",
        "LimitExceededFault",
        "OverLimit",
        "PolicyLengthExceededException",
        "ServiceQuotaExceededException",
    }
)
_EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_SKEWED: Final = frozenset({"RequestTimeTooSkewed", "InvalidSignatureException", "SignatureDoesNotMatch"})
_UNKNOWN_KEY: Final = frozenset({"InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"})

_CLOCK: Final = "check this machine's clock and the secret key"
_SETTINGS = "look at the AWS_… variables of the environment, and at the profile in {files}"
# What `policy deployer` does not allow where fifo.toml sets a permissions boundary.
_FOR_ADMINISTRATORS: Final = {
    "DeleteRolePermissionsBoundary": "what a role may have at most",
    "UpdateAssumeRolePolicy": "who may assume a role that exists",
}


def _login() -> str:
    """Say how to sign in again."""
    return (
        f"check {aws_command_line('sts get-caller-identity')}; sign in with"
        f" {aws_command_line('sso login')}, or name a profile with --profile"
    )


def _by_an_administrator(what: str) -> str:
    return (
        f"with a permissions boundary, {command_line('policy deployer')} does not allow this, on purpose: it"
        f" changes {what}. An administrator has to run {command_line('deploy', for_another=True)} once with"
        " this fifo.toml; after that the deployer can go on (docs/security.md, The permissions boundary)"
    )


class CredentialsError(BotoCoreError):
    """Credentials could not be found or refreshed, for any reason; ``error`` is what was raised."""

    fmt = "the AWS credentials ({source}) are not usable: {error}"

    def __init__(self, *, profile: str | None, method: str, error: Exception) -> None:
        super().__init__(source=f"profile {profile}" if profile else method, error=error)
        self.profile = profile
        self.method = method
        self.error = error


class CredentialProcessError(BotoCoreError):
    """A ``credential_process`` failed (``passing``: it may work the next time) or is of no use."""

    fmt = "credential_process {program!r}: {reason}"

    def __init__(self, *, program: str, reason: str, passing: bool) -> None:
        super().__init__(program=program, reason=reason)
        self.passing = passing


class MfaError(BotoCoreError):
    """The code of an MFA device is needed, and nobody can be asked for it."""

    fmt = "{reason}"


def error_codes(error: ClientError) -> frozenset[str]:
    """Return every code AWS gave an error: the legacy one and the modelled one."""
    details = error.response.get("Error", {})
    return frozenset(str(code) for code in (details.get("Code"), details.get("QueryErrorCode")) if code)


def is_missing(error: ClientError) -> bool:
    """Say whether AWS answered that the resource does not exist."""
    return bool(error_codes(error) & MISSING)


def explain(error: ClientError | BotoCoreError | ResponseParserError, resource: str = "") -> FifoError:
    """Turn a botocore error into ours; ``resource`` names what the call was about."""
    if isinstance(error, GivenUpError):
        return AbandonedError(str(error), hint="run the command again when AWS answers")
    if isinstance(error, CredentialsError):
        return _explain_credentials(error)
    if isinstance(error, ResponseParserError | ForeignAnswerError):
        about = f" (for {resource})" if resource else ""
        text = f"{error}" if isinstance(error, ForeignAnswerError) else "the answer does not come from AWS"
        return AwsError(
            f"AWS could not be reached{about}: {text}",
            hint="look at --endpoint-url, $AWS_ENDPOINT_URL and $HTTPS_PROXY; the network may want a sign-in",
        )
    return (
        _explain_answer(error, resource)
        if isinstance(error, ClientError)
        else _explain_failure(error, resource)
    )


def is_passing(error: BaseException) -> bool:
    """Say whether one of ours shows what passes by itself: no connection, a throttle, a fault of AWS's.

    What AWS refused for good (credentials, permissions, a resource that does not exist) is not.
    """
    cause = error.__cause__
    match cause.error if isinstance(cause, CredentialsError) else cause:
        case ClientError() as answer:
            status = answer.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return bool(error_codes(answer) & THROTTLED) or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        case (
            boto.ConnectionError() | boto.ReadTimeoutError() | boto.HTTPClientError() | ResponseParserError()
        ):
            return True
        case _:
            return False


@contextmanager
def calling(resource: str, instead: Mapping[str, type[Exception]] = MappingProxyType({})) -> Iterator[None]:
    """Turn botocore's errors raised inside into ours, about ``resource``.

    ``instead`` has, by AWS's code, the exceptions of those that the caller acts on.
    """
    try:
        yield
    except (ClientError, BotoCoreError, ResponseParserError) as error:
        for code in error_codes(error) if isinstance(error, ClientError) else ():
            if code in instead:
                raise instead[code] from error
        raise explain(error, resource) from error


def unless_answered(codes: Container[str], call: Callable[[], T]) -> T | None:
    """Return a call's answer, or None if AWS refuses it with one of some codes."""
    try:
        return call()
    except ClientError as error:
        if any(code in codes for code in error_codes(error)):
            return None
        raise


def unless_missing(call: Callable[[], T]) -> T | None:
    """Return a call's answer, or None if AWS says that what it is about does not exist."""
    return unless_answered(MISSING, call)


@contextmanager
def configuring(resource: str) -> Iterator[None]:
    """Turn all that is raised while a session or a client is made into one of ours.

    No call to AWS is made there: what botocore, Python or the system raises is a fault of a variable, a file
    or the installation.
    """
    try:
        with calling(resource):
            yield
    except FifoError:
        raise
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise UsageError(
            f"the AWS configuration is not usable (for {resource}): {reason}", hint=_settings_hint(reason)
        ) from error


PROFILE_FILES: Final = {
    "AWS_CONFIG_FILE": "~/.aws/config",
    "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials",
}


def config_files() -> str:
    """Name the files in which AWS's profiles are, and say which of them cannot be read."""
    return " and ".join(_state_of(variable, place) for variable, place in PROFILE_FILES.items())


def _state_of(variable: str, place: str) -> str:
    path = profile_file(os.environ.get(variable, place))
    notes = [f"of ${variable}"] if variable in os.environ else []
    if fault := unreadable(path):
        notes.append(fault)
    return f"{path or 'no file'} ({', '.join(notes)})" if notes else path


def profile_file(path: str) -> str:
    """Return a path as botocore reads it."""
    return os.path.expanduser(os.path.expandvars(path))


def unreadable(path: str) -> str:
    """Say why a file cannot be read; "" if it can. A pipe or a device is not read, as it may not end."""
    if not os.path.exists(path):
        return "does not exist"
    if os.path.isdir(path):
        return "a folder, not a file"
    if not os.path.isfile(path):
        return "" if os.path.realpath(path) == os.devnull else "not a file"
    try:
        with open(path, "rb") as file:
            file.read(1)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""


def _settings_hint(reason: str) -> str:
    """Name the variables whose values a reason quotes; where there are none, say where all are."""
    settings = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("AWS_", "SSL")) and len(value) > 2
    }
    quoted = ", ".join(f"${name}" for name, value in settings.items() if value in reason)
    return f"look at {quoted}" if quoted else _SETTINGS.format(files=config_files())


def message_of(error: ClientError) -> str:
    """Return AWS's own words for an error; where a code stands for several faults, they decide."""
    return str(error.response.get("Error", {}).get("Message") or "")


def _reason_of(error: ClientError) -> str:
    return (message_of(error) or "no reason given").rstrip(".")


class _Answer(NamedTuple):
    """What it means that AWS answers a call with one of ``codes``, and the next step.

    ``{message}`` is AWS's own, ``{permission}`` how to get the permission, ``{login}`` how to sign in.
    """

    codes: frozenset[str]
    words: str
    hint: str


_ANSWERS: Final = (
    _Answer(_EXPIRED, "the AWS credentials have expired", "{login}"),
    _Answer(
        _UNKNOWN_KEY,
        "AWS does not know these credentials ({message})",
        "{login}; in a region that is not switched on for the account no credentials are known",
    ),
    _Answer(_SKEWED, "AWS refused the signature ({message})", _CLOCK),
    _Answer(DENIED, "permission denied ({message})", "{permission}"),
    _Answer(THROTTLED, "AWS throttled the call again and again", "wait a minute and run the command again"),
    _Answer(
        _QUOTA,
        "a quota of the account is used up: {message}",
        "remove what is not needed any more, or ask for more in Service Quotas; then run it again",
    ),
)


def _explain_answer(error: ClientError, resource: str) -> FifoError:
    codes, message = error_codes(error), _reason_of(error)
    call = f"{error.operation_name} on {resource}" if resource else error.operation_name
    if codes & MISSING:
        return NotDeployedError(
            f"{resource or 'a resource'} does not exist in this account and region ({error.operation_name})",
            hint=f"deploy the pipeline with {command_line('deploy')}, or check --env, --profile and --region",
        )
    for known in _ANSWERS:
        if codes & known.codes:
            words = known.words.format(message=message)
            hint = known.hint.format(login=_login(), permission=_permission(error.operation_name, message))
            return AwsError(f"{call}: {words}", hint=hint)
    if any(code.startswith(("KMS", "Kms")) for code in codes):
        return AwsError(
            f"{call}: the encryption key refused ({message})", hint="check the key's policy and state in KMS"
        )
    code = error.response.get("Error", {}).get("Code", "no code")
    return AwsError(
        f"{call}: AWS refused: {message} ({code})",
        hint="run it again with -vv, which shows AWS's whole answer",
    )


def _permission(operation: str, message: str) -> str:
    """Say how to get the permission for a call, which AWS denied with this message."""
    if what := _FOR_ADMINISTRATORS.get(operation):
        return _by_an_administrator(what)
    # Most services name the permission; a few, and what an organisation forbids, do not.
    missing = "that this names" if "perform: " in message else f"to call {operation}"
    return (
        f"ask for the permission {missing}; {command_line('policy deployer')} prints all that deploy takes,"
        f" {command_line('policy operator')} and {command_line('policy monitor')} what the others do"
    )


class _Rule(NamedTuple):
    """How an error of botocore's reads: its class, the words before botocore's, and the next step.

    In ``words`` and ``hint``, ``{about}`` is what the call was about and ``{files}`` are the profiles' files;
    ``_explain_failure`` has the others. ``errors`` are the names of botocore's classes, since not every
    version of botocore has all of them.
    """

    kind: type[FifoError]
    words: str
    hint: str
    errors: str


_CREDENTIALS: Final = _Rule(
    AwsError,
    "no usable AWS credentials: {error}",
    "{login}",
    "CredentialRetrievalError MetadataRetrievalError UnknownCredentialError RefreshWithMFAUnsupportedError",
)
_LOGIN_SESSION: Final = _Rule(
    AwsError, "the AWS sign-in is not usable: {error}", "sign in with {sign_in}", "LoginError"
)
_OTHER: Final = _Rule(
    AwsError,
    "the call to AWS failed{about}: {error}",
    "run it again with -vv, which shows where",
    # What nothing here calls: waiters, paginators without a model, event streams, S3, stubs.
    "PaginationError OperationNotPageableError WaiterError WaiterConfigError InvalidExpressionError"
    " UnknownClientMethodError AwsChunkedWrapperError InvalidDNSNameError InvalidS3AddressingStyleError"
    " UnsupportedS3ArnError UnsupportedS3ControlArnError UnsupportedS3ConfigurationError"
    " UnsupportedS3AccesspointConfigurationError UnsupportedS3ControlConfigurationError"
    " UnsupportedOutpostResourceError StubResponseError",
)
_RULES: Final = (
    _Rule(UsageError, "{error}; looked in {files}", "list profiles with {profiles}", "ProfileNotFound"),
    _Rule(
        UsageError,
        "no AWS region is set; looked in {files}",
        "set region in [pipeline], $AWS_DEFAULT_REGION or --region",
        "NoRegionError",
    ),
    _Rule(
        UsageError,
        "{error}",
        "check --region, region in [pipeline], $AWS_REGION and $AWS_DEFAULT_REGION",
        "InvalidRegionError UnknownRegionError ServiceNotInRegionError BaseEndpointResolverError"
        " EndpointProviderError InvalidHostLabelError",
    ),
    _Rule(
        UsageError,
        "{error}",
        "correct the file (the AWS CLI's guide has its format), or name another by $AWS_CONFIG_FILE or"
        " $AWS_SHARED_CREDENTIALS_FILE",
        "ConfigParseError ConfigNotFound",
    ),
    _Rule(
        UsageError,
        "the AWS profile is not usable: {error}",
        "correct it in {files}, or name another by --profile",
        "InvalidConfigError PartialCredentialsError CredentialProcessError",
    ),
    _Rule(
        UsageError,
        "the AWS configuration is not usable{about}: {error}",
        "{settings}",
        "InvalidRetryConfigurationError InvalidSTSRegionalEndpointsConfigError InvalidDefaultsMode"
        " InvalidS3UsEast1RegionalEndpointConfigError InvalidIMDSEndpointError InvalidIMDSEndpointModeError"
        " InvalidProxiesConfigError InvalidEndpointDiscoveryConfigurationError InvalidChecksumConfigError"
        " InvalidEndpointConfigurationError",
    ),
    _Rule(
        UsageError,
        "botocore cannot do this as it is installed{about}: {error}",
        "install it again with `pip install --upgrade boto3`; look at $AWS_DATA_PATH",
        "DataNotFoundError ApiVersionNotFoundError MissingDependencyException UnknownServiceStyle"
        " UnknownSignatureVersionError UnsupportedSignatureVersionError UnsupportedServiceProtocolsError"
        " MD5UnavailableError",
    ),
    _Rule(
        AwsError,
        "no usable AWS credentials: {error}; looked in the environment, {files}",
        "{login}",
        "NoCredentialsError",
    ),
    _CREDENTIALS,
    _Rule(
        UsageError,
        "{error}",
        "run it in a terminal, or sign in with {identity} first: what that keeps is used here",
        "MfaError",
    ),
    _Rule(
        AwsError,
        "the AWS sign-in is not usable: {error}",
        "{login}",
        "TokenRetrievalError UnknownTokenProviderError SSOError NoAuthTokenError",
    ),
    _LOGIN_SESSION,
    _Rule(
        AwsError,
        "AWS could not be reached{about}: {error}",
        "check the network, --region and --endpoint-url, and {local}",
        "ConnectionError HTTPClientError IncompleteReadError ChecksumError FlexibleChecksumError",
    ),
    _Rule(
        AwsError,
        "the call to AWS failed{about}: {error}",
        "wait a minute and run it again",
        "CapacityNotAvailableError",
    ),
    _Rule(
        UsageError,
        "AWS's own checks refused the call{about}: {error}",
        "correct what it names, in fifo.toml or on the command line",
        "ParamValidationError ValidationError MissingParametersError UnseekableStreamError",
    ),
    _OTHER,
)
_BY_ERROR: Final = {name: rule for rule in _RULES for name in rule.errors.split()}


# Where botocore's providers of credentials have theirs from; of the others it is the profile.
_WHERE: Final = {
    "env": "$AWS_ACCESS_KEY_ID, $AWS_SECRET_ACCESS_KEY, $AWS_SESSION_TOKEN and $AWS_CREDENTIAL_EXPIRATION",
    "container-role": "$AWS_CONTAINER_CREDENTIALS_FULL_URI, $AWS_CONTAINER_CREDENTIALS_RELATIVE_URI,"
    " $AWS_CONTAINER_AUTHORIZATION_TOKEN and the file of $AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "iam-role": "$AWS_EC2_METADATA_SERVICE_ENDPOINT, and what answers there",
    "ec2-credentials-file": "the file of $AWS_CREDENTIAL_FILE",
    "boto-config": "$BOTO_CONFIG, ~/.boto and /etc/boto.cfg",
}


def rule_of(kind: type[BaseException]) -> _Rule | None:
    """Return how errors of a class read, by its nearest ancestor that a rule names; None without one."""
    return next((_BY_ERROR[base.__name__] for base in kind.__mro__ if base.__name__ in _BY_ERROR), None)


def _explain_failure(error: BotoCoreError, resource: str) -> FifoError:
    rule = rule_of(type(error)) or _OTHER
    if isinstance(error, CredentialProcessError) and error.passing:
        rule = _CREDENTIALS
    texts = {
        "error": _parse_failure(error) if isinstance(error, boto.ConfigParseError) else f"{error}",
        "about": f" (for {resource})" if resource else "",
        "files": config_files(),
        "settings": _settings_hint(f"{error}"),
        "login": _login(),
        "local": command_line("local status"),
        "identity": aws_command_line("sts get-caller-identity"),
        "profiles": "`aws configure list-profiles`",
        "sign_in": aws_command_line("login"),
    }
    return rule.kind(rule.words.format(**texts), hint=rule.hint.format(**texts))


def _parse_failure(error: boto.ConfigParseError) -> str:
    """Say where a profiles' file is wrong, and nothing of what it holds: that may be a key."""
    found = getattr(error, "kwargs", {})
    path, cause = found.get("path"), found.get("error")
    match cause:
        case UnicodeDecodeError():
            reason = f"it is not {cause.encoding.upper()} text (byte {cause.start + 1})"
        case configparser.DuplicateSectionError():
            reason = f"line {cause.lineno}: a second section [{cause.section}]"
        case configparser.DuplicateOptionError():
            reason = f"line {cause.lineno}: a second {cause.option} in [{cause.section}]"
        case configparser.MissingSectionHeaderError():
            reason = f"line {cause.lineno}: no [section] before it"
            if cause.line.startswith("\ufeff"):
                reason = "it begins with a byte order mark; save it as UTF-8 without one"
        case configparser.ParsingError():
            numbers = ", ".join(str(number) for number, _ in cause.errors)
            reason = f"not `name = value`: line {numbers}"
        case _:
            reason = "an indented block is not lines of `name = value`"
    return f"the AWS configuration file {path} cannot be read: {reason}"


def _explain_credentials(error: CredentialsError) -> FifoError:
    """Say whose credentials they are, why they are not usable, and what to do."""
    profile, cause = error.profile or "default", error.error
    whose = (
        f"the credentials of the AWS profile {profile}" if error.method != "env" else "the AWS credentials"
    )
    if isinstance(cause, ClientError):
        return _explain_exchange(cause, whose, profile)
    if isinstance(cause, boto.ParamValidationError):
        return UsageError(f"{whose}: {cause}", hint=f"correct the profile {profile} in {config_files()}")
    # What is neither AWS's nor botocore's comes from the file in which the sign-in is kept.
    if isinstance(cause, boto.SSOError | boto.TokenRetrievalError) or (
        error.method == "sso" and not isinstance(cause, BotoCoreError)
    ):
        return AwsError(f"{whose}: {cause}", hint=f"sign in with `aws sso login --profile {quoted(profile)}`")
    if rule_of(type(cause)) is _LOGIN_SESSION:
        return AwsError(f"{whose}: {cause}", hint=f"sign in with `aws login --profile {quoted(profile)}`")
    if isinstance(cause, BotoCoreError):
        text = _explain_failure(cause, "")
        return type(text)(f"{whose}: {text.message}", hint=text.hint)
    return _explain_system(error, whose, profile)


def _explain_exchange(error: ClientError, whose: str, profile: str) -> FifoError:
    """Explain what STS or IAM Identity Center refused when it was asked for credentials."""
    reason = _reason_of(error)
    message = f"{whose}: {error.operation_name} was refused: {reason}"
    codes = error_codes(error)
    if "MultiFactorAuthentication" in reason:
        return AwsError(message, hint="run it again with the code that the device shows now")
    if codes & _EXPIRED:
        return AwsError(message, hint=_login())
    if codes & _SKEWED:
        return AwsError(message, hint=_CLOCK)
    if "Role" in error.operation_name:
        return AwsError(
            message,
            hint=f"check role_arn and what the profile {profile} starts from, whether account and role"
            " still exist, and whom the role trusts",
        )
    return AwsError(message, hint=f"check the profile {profile} in {config_files()}; {_login()}")


def _explain_system(error: CredentialsError, whose: str, profile: str) -> FifoError:
    """Explain what neither AWS nor botocore raised: a missing file, a text that is not as AWS has it."""
    cause = error.error
    if isinstance(cause, OSError) and cause.filename is not None:
        variables = [name for name, value in os.environ.items() if name.startswith("AWS_") and value]
        naming = [f"${name}" for name in variables if os.environ[name] == str(cause.filename)]
        text = f"{cause.filename}: {cause.strerror}"
        return UsageError(
            f"{whose}: {text}",
            hint=f"look at {naming[0] if naming else f'the profile {profile} in {config_files()}'}"
            " and at the file that it names",
        )
    if isinstance(cause, RuntimeError):
        return AwsError(f"{whose}: {cause}", hint=_login())
    reason = str(cause) or type(cause).__name__
    if isinstance(cause, LookupError | TypeError | AttributeError):
        reason = "the answer is not what AWS's documents describe"
    where = _WHERE.get(error.method, f"the profile {profile} in {config_files()}")
    return UsageError(f"{whose} are not usable: {reason}", hint=f"look at {where}")
