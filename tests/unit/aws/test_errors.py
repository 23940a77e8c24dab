"""Every error of AWS's that a person can meet: the call, the resource, the reason and the next step."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError

from fifo_cli.aws.errors import CredentialsError, calling, configuring, explain, is_passing, rule_of
from fifo_cli.errors import AwsError, FifoError, NotDeployedError, UsageError

RESOURCE = "queue orders.fifo"


def answered(code: str, message: str = "said AWS", query_code: str = "") -> ClientError:
    details: Any = {"Code": code, "Message": message}
    details |= {"QueryErrorCode": query_code} if query_code else {}
    return ClientError({"Error": details}, "GetQueueAttributes")


@pytest.mark.parametrize(
    ("code", "kind", "text", "hint"),
    [
        ("ExpiredToken", AwsError, "the AWS credentials have expired", "aws sso login"),
        ("ExpiredTokenException", AwsError, "the AWS credentials have expired", "aws sso login"),
        ("InvalidClientTokenId", AwsError, "AWS does not know these credentials", "get-caller-identity"),
        ("SignatureDoesNotMatch", AwsError, "refused the signature", "clock"),
        ("RequestTimeTooSkewed", AwsError, "refused the signature", "clock"),
        (
            "AccessDenied",
            AwsError,
            "permission denied (said AWS)",
            "ask for the permission to call GetQueueAttributes; `fifo-cli policy deployer`",
        ),
        ("AccessDeniedException", AwsError, "permission denied (said AWS", "permission"),
        ("LimitExceededException", AwsError, "a quota of the account is used up: said AWS", "Service Quotas"),
        ("ServiceQuotaExceededException", AwsError, "a quota of the account is used up", "Service Quotas"),
        ("AWS.SimpleQueueService.NonExistentQueue", NotDeployedError, "does not exist", "--region"),
        ("ResourceNotFoundException", NotDeployedError, "does not exist", "fifo-cli deploy"),
        ("RequestThrottled", AwsError, "throttled", "wait a minute"),
        ("ThrottlingException", AwsError, "throttled", "wait a minute"),
        ("KmsAccessDenied", AwsError, "the encryption key refused", "KMS"),
        ("KMSDisabledException", AwsError, "the encryption key refused", "KMS"),
        ("SomethingNew", AwsError, "AWS refused: said AWS (SomethingNew)", "-vv"),
    ],
)
def test_what_aws_answers_is_reported_with_the_call_the_resource_and_the_next_step(
    code: str, kind: type[FifoError], text: str, hint: str
) -> None:
    error = explain(answered(code), RESOURCE)

    assert type(error) is kind
    assert text in error.message
    assert RESOURCE in error.message
    assert "GetQueueAttributes" in error.message
    assert hint in error.hint


def test_a_permission_that_aws_names_is_named_once() -> None:
    said = "User: arn:aws:iam::1:user/a is not authorized to perform: sqs:getqueueattributes on resource: x"
    error = explain(answered("AccessDenied", said), RESOURCE)
    assert error.message == f"GetQueueAttributes on {RESOURCE}: permission denied ({said})"
    assert error.hint.startswith("ask for the permission that this names; ")


@pytest.mark.parametrize(
    ("operation", "what"),
    [
        ("UpdateAssumeRolePolicy", "who may assume a role that exists"),
        ("DeleteRolePermissionsBoundary", "what a role may have at most"),
    ],
)
def test_what_a_deployer_with_a_boundary_may_not_do_is_an_administrator_s(operation: str, what: str) -> None:
    details: Any = {"Code": "AccessDenied", "Message": "said AWS"}
    error = explain(ClientError({"Error": details}, operation), "role orders-worker")
    assert error.message == f"{operation} on role orders-worker: permission denied (said AWS)"
    assert f"it changes {what}. An administrator has to run `fifo-cli deploy` once" in error.hint
    assert "ask for the permission" not in error.hint


def test_the_modelled_name_of_an_sqs_error_counts_as_well_as_the_legacy_one() -> None:
    error = explain(answered("Sender", query_code="QueueDoesNotExist"), RESOURCE)

    assert isinstance(error, NotDeployedError)


@pytest.mark.parametrize(
    ("error", "kind", "text", "hint"),
    [
        (boto.NoCredentialsError(), AwsError, "no usable AWS credentials", "aws sso login"),
        (boto.SSOTokenLoadError(error_msg="old"), AwsError, "sign-in is not usable", "aws sso login"),
        (boto.UnauthorizedSSOTokenError(), AwsError, "sign-in is not usable", "aws sso login"),
        (boto.ProfileNotFound(profile="x"), UsageError, "(x) could not be found", "list-profiles"),
        (boto.NoRegionError(), UsageError, "no AWS region is set", "AWS_DEFAULT_REGION"),
        (boto.InvalidRegionError(region_name="../x"), UsageError, "../x", "--region"),
        (boto.EndpointConnectionError(endpoint_url="https://x"), AwsError, "could not be reached", "network"),
        (
            boto.ConnectTimeoutError(endpoint_url="https://x"),
            AwsError,
            "could not be reached (for queue orders.fifo)",
            "network",
        ),
        (boto.ReadTimeoutError(endpoint_url="https://x"), AwsError, "could not be reached", "--endpoint-url"),
        (boto.ParamValidationError(report="bad"), UsageError, "refused the call", "fifo.toml"),
    ],
)
def test_what_keeps_us_from_aws_is_reported_with_the_next_step(
    error: BotoCoreError, kind: type[FifoError], text: str, hint: str
) -> None:
    explained = explain(error, RESOURCE)

    assert type(explained) is kind
    assert text in explained.message
    assert hint in explained.hint


@pytest.mark.parametrize(
    "error",
    [
        boto.EndpointConnectionError(endpoint_url="https://user:hunter2@aws.example/"),
        boto.ConnectTimeoutError(endpoint_url="https://user:hunter2@aws.example:8443/"),
        boto.ReadTimeoutError(endpoint_url="http://user:hunt@hunter2@aws.example/?x"),
        boto.ProxyConnectionError(proxy_url="http://user:hunter2@aws.example:3128"),
        boto.SSLError(endpoint_url="https://hunter2@aws.example", error=OSError("EOF")),
    ],
)
def test_the_password_of_an_endpoint_or_a_proxy_is_not_shown(error: BotoCoreError) -> None:
    explained = explain(error, RESOURCE)

    assert "hunter2" not in f"{explained.message} {explained.hint}"
    assert "aws.example" in explained.message


def every_boto_error() -> list[type[BotoCoreError]]:
    found = [one for _, one in inspect.getmembers(boto, inspect.isclass) if issubclass(one, BotoCoreError)]
    assert len(found) > 80
    return found


@pytest.mark.parametrize("kind", every_boto_error(), ids=lambda kind: kind.__name__)
def test_every_exception_of_botocore_becomes_one_of_ours_with_a_next_step(kind: type[BotoCoreError]) -> None:
    class Anything(dict[str, Any]):
        def __missing__(self, key: str) -> str:
            return "x"

    error = kind.__new__(kind)
    Exception.__init__(error, kind.fmt.format_map(Anything()))

    explained = explain(error, RESOURCE)

    assert isinstance(explained, AwsError | UsageError)
    assert explained.hint


def test_every_exception_of_botocore_has_a_rule_of_its_own_kind() -> None:
    """A class that a later botocore adds fails here, until somebody has said what it means for a user."""
    kinds = [one for one in every_boto_error() if one is not BotoCoreError]
    assert [kind.__name__ for kind in kinds if rule_of(kind) is None] == []


@pytest.mark.parametrize(
    "error",
    [
        ValueError("odd"),
        KeyError("odd"),
        TypeError("odd"),
        OSError(13, "odd", "/x"),
        AttributeError("odd"),
        RuntimeError("odd"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd"),
    ],
    ids=repr,
)
def test_whatever_is_raised_while_a_client_is_made_is_a_fault_of_the_configuration(error: Exception) -> None:
    with pytest.raises(UsageError, match="odd") as raised, configuring("sqs"):
        raise error
    assert raised.value.hint


@pytest.mark.parametrize("name", ["SSLKEYLOGFILE", "SSL_CERT_FILE", "SSL_CERT_DIR", "AWS_CA_BUNDLE"])
def test_a_file_that_a_variable_names_is_shown_with_the_variable(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "/nonexistent/x")
    with pytest.raises(UsageError) as raised, configuring("sqs"):
        raise FileNotFoundError(2, "No such file or directory", "/nonexistent/x")
    assert f"${name}" in raised.value.hint


@pytest.mark.parametrize(
    ("error", "kind", "text", "hint"),
    [
        (answered("AccessDenied", "no trust"), AwsError, "profile dev: GetQueueAttributes", "profile dev"),
        (answered("ExpiredToken"), AwsError, "said AWS", "aws sso login"),
        (answered("SignatureDoesNotMatch"), AwsError, "said AWS", "clock"),
        (boto.SSOTokenLoadError(error_msg="old"), AwsError, "old", "`aws sso login --profile dev`"),
        (boto.RefreshWithMFAUnsupportedError(), AwsError, "MFA token required", "aws sts"),
        (boto.InvalidConfigError(error_msg="both"), UsageError, "both", "correct it in"),
        (boto.ConnectTimeoutError(endpoint_url="http://x"), AwsError, "could not be reached", "network"),
        (FileNotFoundError(2, "No such file", "/x"), UsageError, "/x: No such file", "profile dev"),
        (KeyError("AccessKeyId"), UsageError, "not what AWS's documents describe", "profile dev"),
        (RuntimeError("still expired"), AwsError, "still expired", "aws sso login"),
    ],
    ids=repr,
)
def test_credentials_that_cannot_be_had_say_whose_they_are_and_what_to_do(
    error: Exception, kind: type[FifoError], text: str, hint: str
) -> None:
    explained = explain(CredentialsError(profile="dev", method="assume-role", error=error), RESOURCE)

    assert type(explained) is kind
    assert "profile dev" in explained.message
    assert text in explained.message
    assert hint in explained.hint


def test_a_sign_in_service_that_is_unreachable_passes_and_a_refusal_does_not() -> None:
    unreachable = boto.EndpointConnectionError(endpoint_url="http://x")
    for error, passing in ((unreachable, True), (answered("AccessDenied"), False)):
        with pytest.raises(FifoError) as text, calling(RESOURCE):
            raise CredentialsError(profile="dev", method="sso", error=error) from error
        assert is_passing(text.value) is passing


def test_the_error_of_a_call_names_what_it_was_about_and_keeps_its_cause() -> None:
    with pytest.raises(AwsError, match=RESOURCE) as raised, calling(RESOURCE):
        raise answered("AccessDenied")

    assert isinstance(raised.value.__cause__, ClientError)


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (boto.EndpointConnectionError(endpoint_url="http://x"), True),
        (boto.ConnectTimeoutError(endpoint_url="http://x"), True),
        (boto.ReadTimeoutError(endpoint_url="http://x"), True),
        (boto.ConnectionClosedError(endpoint_url="http://x"), True),
        (answered("RequestThrottled"), True),
        (ClientError({"Error": {}, "ResponseMetadata": {"HTTPStatusCode": 503}}, "GetQueueUrl"), True),  # type: ignore[typeddict-item]
        (answered("ExpiredToken"), False),
        (answered("AccessDenied"), False),
        (answered("QueueDoesNotExist"), False),
        (boto.NoCredentialsError(), False),
        (boto.NoRegionError(), False),
    ],
)
def test_what_passes_by_itself_is_reported_from_what_aws_refused(error: Exception, passing: bool) -> None:
    with pytest.raises(FifoError) as text, calling(RESOURCE):
        raise error

    assert is_passing(text.value) is passing
