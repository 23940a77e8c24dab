"""The public URL of a function: anybody may call it, and the function has to know who may be answered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from fifo_cli.aws.errors import DENIED, calling, error_codes, message_of, unless_answered, unless_missing
from fifo_cli.errors import AwsError
from fifo_cli.model.urls import host_of, is_this_machine

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

_EXISTS: Final = frozenset({"ResourceConflictException"})
# What Lambda's setting that blocks public access answers with (AddPermission).
_FORBIDDEN: Final = DENIED | {"PublicPolicyException"}
# A URL takes both since October 2025; the second lets nobody invoke the function but through the URL (Lambda
# Developer Guide, "Control access to Lambda function URLs").
_PERMISSIONS: Final[tuple[dict[str, Any], ...]] = (
    {"StatementId": "Url", "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
    {"StatementId": "UrlInvokes", "Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
)


class ForbiddenUrlError(AwsError):
    """The account, or a policy of its organisation, allows no public function URL."""


@dataclass(frozen=True, slots=True)
class FunctionUrlAdmin:
    """Public URLs of functions, by the functions' names. Every step may be repeated after a crash."""

    client: LambdaClient

    def create(self, function: str) -> str:
        """Give a function a URL that anybody may call, and return it; raise ForbiddenUrlError if none may be.

        The URL of the embedded stack is below its endpoint.
        """
        with calling(f"the URL of function {function}"):
            try:
                url = self._create(function)
                for one in _PERMISSIONS:
                    allow = partial(self.client.add_permission, FunctionName=function, Principal="*", **one)
                    unless_answered(_EXISTS, allow)
            except ClientError as error:
                if not error_codes(error) & _FORBIDDEN:
                    raise
                raise _forbidden(function, error) from error
        return self._reachable(url)

    def delete(self, function: str) -> None:
        """Delete a function's URL, at which nobody reaches it then; that there is none is not an error."""
        with calling(f"the URL of function {function}"):
            unless_missing(lambda: self.client.delete_function_url_config(FunctionName=function))

    def _create(self, function: str) -> str:
        create = partial(self.client.create_function_url_config, FunctionName=function, AuthType="NONE")
        made = unless_answered(_EXISTS, create)
        return (made or self.client.get_function_url_config(FunctionName=function))["FunctionUrl"]

    def _reachable(self, url: str) -> str:
        endpoint, host = self.client.meta.endpoint_url, host_of(url)
        if is_this_machine(host_of(endpoint)) and host.endswith(".on.aws"):
            return f"{endpoint.rstrip('/')}/_aws/lambda-url/{host.partition('.')[0]}"
        return url.rstrip("/")


def _forbidden(function: str, error: ClientError) -> ForbiddenUrlError:
    return ForbiddenUrlError(
        f"{error.operation_name} on function {function}: a public function URL is not allowed here"
        f" ({message_of(error).rstrip('.') or 'no reason given'})",
        hint="a policy of the organisation, or Lambda's setting that blocks public access, may forbid it: run"
        " prove with --api URL and a receiver of your own (docs/prove.md); otherwise ask for the permissions"
        " lambda:CreateFunctionUrlConfig and lambda:AddPermission",
    )
