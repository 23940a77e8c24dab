"""botocore's errors → ours, in words a person can act on; the most specific rule wins.

``ClientError`` (AWS answered no) is not a ``BotoCoreError`` (we never got that far); SQS keeps its
modelled names in ``QueryErrorCode`` and answers with legacy ones in ``Code``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from fifo_cli.aws.abandoning import GivenUpError
from fifo_cli.aws.answers import ForeignAnswerError
from fifo_cli.errors import AbandonedError, AwsError, FifoError, NotDeployedError, UsageError

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

_LOGIN = "check `aws sts get-caller-identity`; sign in with `aws sso login`, or name a profile with --profile"
_POLICIES = (
    "`fifo-cli policy deployer` prints all that deploy takes, and `policy operator` and `policy monitor` what"
    " the other commands do"
)


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
    if isinstance(error, ResponseParserError | ForeignAnswerError):
        about = f" (for {resource})" if resource else ""
        told = f"{error}" if isinstance(error, ForeignAnswerError) else "the answer is none of AWS's"
        return AwsError(
            f"AWS could not be reached{about}: {told}",
            hint="look at --endpoint-url, $AWS_ENDPOINT_URL and $HTTPS_PROXY; the network may want a sign-in",
        )
    return (
        _explain_answer(error, resource)
        if isinstance(error, ClientError)
        else _explain_failure(error, resource)
    )


def is_passing(error: BaseException) -> bool:
    """Say whether one of ours tells of what passes by itself: no connection, a throttle, a fault of AWS's.

    What AWS refused for good (credentials, permissions, a resource that does not exist) is not.
    """
    match error.__cause__:
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
def calling(resource: str) -> Iterator[None]:
    """Turn botocore's errors raised inside into ours, about ``resource``."""
    try:
        yield
    except (ClientError, BotoCoreError, ResponseParserError) as error:
        raise explain(error, resource) from error


def _explain_answer(error: ClientError, resource: str) -> FifoError:  # noqa: PLR0911 - a return a kind
    codes = error_codes(error)
    about = f" on {resource}" if resource else ""
    call = f"{error.operation_name}{about}"
    said = str(error.response.get("Error", {}).get("Message") or "no reason given").rstrip(".")
    if codes & _EXPIRED:
        return AwsError(f"{call}: the AWS credentials have expired", hint=_LOGIN)
    if codes & _UNKNOWN_KEY:
        return AwsError(
            f"{call}: AWS does not know these credentials ({said})",
            hint=f"{_LOGIN}; in a region that is not switched on for the account no credentials are known",
        )
    if codes & _SKEWED:
        return AwsError(
            f"{call}: AWS refused the signature ({said})",
            hint="check this machine's clock and the secret key",
        )
    if codes & DENIED:
        # Most services name the permission; a few, and what an organisation forbids, do not.
        missing = "that this names" if "perform: " in said else f"to call {error.operation_name}"
        return AwsError(
            f"{call}: permission denied ({said})", hint=f"ask for the permission {missing}; {_POLICIES}"
        )
    if codes & MISSING:
        name = resource or "a resource"
        return NotDeployedError(
            f"{name} does not exist in this account and region ({error.operation_name})",
            hint="deploy the pipeline with `fifo-cli deploy`, or check --env, --profile and --region",
        )
    if codes & THROTTLED:
        return AwsError(
            f"{call}: AWS throttled the call again and again", hint="wait a minute and run the command again"
        )
    if codes & _QUOTA:
        return AwsError(
            f"{call}: a quota of the account is used up: {said}",
            hint="remove what is not needed any more, or ask for more in Service Quotas; then run it again",
        )
    if any(code.startswith(("KMS", "Kms")) for code in codes):
        return AwsError(
            f"{call}: the encryption key refused ({said})", hint="check the key's policy and state in KMS"
        )
    code = error.response.get("Error", {}).get("Code", "no code")
    return AwsError(
        f"{call}: AWS refused: {said} ({code})", hint="run it again with -vv, which shows AWS's whole answer"
    )


def _explain_failure(error: BotoCoreError, resource: str) -> FifoError:  # noqa: PLR0911 - a return a kind
    about = f" (for {resource})" if resource else ""
    match error:
        case boto.ProfileNotFound():
            return UsageError(f"{error}", hint="list profiles with `aws configure list-profiles`")
        case boto.InvalidRegionError():
            return UsageError(
                f"{error}", hint="check --region, region in [pipeline], and $AWS_DEFAULT_REGION"
            )
        case boto.NoRegionError():
            return UsageError(
                "no AWS region is set", hint="set region in [pipeline], $AWS_DEFAULT_REGION or --region"
            )
        case boto.NoCredentialsError() | boto.PartialCredentialsError() | boto.CredentialRetrievalError():
            return AwsError(f"no usable AWS credentials: {error}", hint=_LOGIN)
        case boto.TokenRetrievalError() | boto.SSOError() | boto.LoginError() | boto.NoAuthTokenError():
            return AwsError(f"the AWS sign-in is not usable: {error}", hint=_LOGIN)
        case boto.ConnectionError() | boto.ReadTimeoutError() | boto.HTTPClientError():
            return AwsError(
                f"AWS could not be reached{about}: {error}",
                hint="check the network, --region and --endpoint-url, and `fifo-cli local status`",
            )
        case (
            boto.ParamValidationError() | boto.InvalidEndpointConfigurationError() | boto.InvalidConfigError()
        ):
            return UsageError(
                f"AWS's own checks refused the call{about}: {error}",
                hint="mend what it names, in fifo.toml or on the command line",
            )
        case _:
            return AwsError(
                f"the call to AWS failed{about}: {error}", hint="run it again with -vv, which shows where"
            )
