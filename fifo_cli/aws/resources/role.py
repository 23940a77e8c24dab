"""IAM roles as resources: who may assume them, one inline policy, a boundary, tags."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from botocore.exceptions import ClientError

from fifo_cli.aws.errors import calling, error_codes, explain, is_missing
from fifo_cli.aws.resources.gateway import AlreadyExists, tag_list, tag_map
from fifo_cli.aws.resources.network_interface import NetworkInterfaces
from fifo_cli.model.resources import Found, Resource, makes_interfaces, stamped

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_iam.type_defs import TagTypeDef

POLICY_NAME: Final = "fifo-cli"


@dataclass(frozen=True, slots=True)
class RoleAdmin:
    """Roles by name."""

    iam: IAMClient
    interfaces: NetworkInterfaces | None = None

    def read(self, name: str) -> Found | None:
        """Return a role; its ARN is a fact."""
        try:
            role = self.iam.get_role(RoleName=name)["Role"]
        except ClientError as error:
            if is_missing(error):
                return None
            raise explain(error, f"role {name}") from error
        boundary = role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
        properties: dict[str, Any] = {
            "trust": _parsed(role.get("AssumeRolePolicyDocument")),
            "policy": self._policy(name),
            "permissions_boundary": boundary,
            "other_policies": self._others(name),
        }
        return Found("role", name, properties, tag_map(role.get("Tags")), {"arn": role["Arn"]})

    def create(self, wanted: Resource) -> None:
        """Create a role, then its policy."""
        boundary = wanted.properties["permissions_boundary"]
        try:
            self.iam.create_role(
                RoleName=wanted.name,
                AssumeRolePolicyDocument=json.dumps(wanted.properties["trust"]),
                Description="What a function of a fifo-cli pipeline may do",
                Tags=_tags(wanted),
                **({"PermissionsBoundary": boundary} if boundary else {}),
            )
        except ClientError as error:
            if error_codes(error) & {"EntityAlreadyExists", "EntityAlreadyExistsException"}:
                raise AlreadyExists(f"role {wanted.name} exists already") from error
            raise explain(error, f"role {wanted.name}") from error
        self._put_policy(wanted)

    def update(self, wanted: Resource, found: Found, changed: frozenset[str]) -> None:
        """Set what differs."""
        name, properties = wanted.name, wanted.properties
        boundary = properties["permissions_boundary"]
        # The boundary first: a deployer that is held to it may change only roles that have it.
        with calling(f"role {name}"):
            if "permissions_boundary" in changed and boundary:
                self.iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=boundary)
        if "policy" in changed:
            self._put_policy(wanted)
        with calling(f"role {name}"):
            if "trust" in changed:
                self.iam.update_assume_role_policy(
                    RoleName=name, PolicyDocument=json.dumps(properties["trust"])
                )
            if "permissions_boundary" in changed and not boundary:
                self.iam.delete_role_permissions_boundary(RoleName=name)
            if "other_policies" in changed:
                self._take_off(name, keep={POLICY_NAME})
            self.iam.tag_role(RoleName=name, Tags=_tags(wanted))

    def delete(self, found: Found) -> None:
        """Delete a role with its inline policies; managed ones are taken off, as IAM demands.

        A role that Lambda needs to delete the network interfaces of its function is kept until that is done
        (Lambda Developer Guide, "Giving Lambda functions access to resources in an Amazon VPC").
        """
        if self.interfaces is not None and makes_interfaces(found):
            self.interfaces.wait_deleted(found.name)
        try:
            self._take_off(found.name)
            self.iam.delete_role(RoleName=found.name)
        except ClientError as error:
            if not is_missing(error):
                raise explain(error, f"role {found.name}") from error

    def _take_off(self, name: str, *, keep: Collection[str] = ()) -> None:
        """Take off inline and managed policies; an earlier try of a call may have done so already."""
        for policy in self._inline(name):
            if policy not in keep:
                with _unless_missing():
                    self.iam.delete_role_policy(RoleName=name, PolicyName=policy)
        for arn in self._attached(name):
            with _unless_missing():
                self.iam.detach_role_policy(RoleName=name, PolicyArn=arn)

    def _inline(self, name: str) -> list[str]:
        pages = self.iam.get_paginator("list_role_policies").paginate(RoleName=name)
        return [policy for page in pages for policy in page["PolicyNames"]]

    def _attached(self, name: str) -> list[str]:
        pages = self.iam.get_paginator("list_attached_role_policies").paginate(RoleName=name)
        return [one["PolicyArn"] for page in pages for one in page["AttachedPolicies"]]

    def _others(self, name: str) -> list[str]:
        """Return what is attached besides our one policy: inline policies by name, managed ones by ARN."""
        try:
            return sorted({*self._inline(name), *self._attached(name)} - {POLICY_NAME})
        except ClientError as error:
            if is_missing(error):
                return []
            raise explain(error, f"role {name}") from error

    def _policy(self, name: str) -> Any:
        try:
            return _parsed(self.iam.get_role_policy(RoleName=name, PolicyName=POLICY_NAME)["PolicyDocument"])
        except ClientError as error:
            if is_missing(error):
                return None
            raise explain(error, f"role {name}") from error

    def _put_policy(self, wanted: Resource) -> None:
        with calling(f"role {wanted.name}"):
            document = json.dumps(wanted.properties["policy"])
            self.iam.put_role_policy(RoleName=wanted.name, PolicyName=POLICY_NAME, PolicyDocument=document)


@contextmanager
def _unless_missing() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if not is_missing(error):
            raise


def _parsed(document: Any) -> Any:
    """Return a policy as JSON; botocore decodes IAM's, yet passes on as text what it cannot."""
    return json.loads(document) if isinstance(document, str) else document


def _tags(wanted: Resource) -> list[TagTypeDef]:
    return cast("list[TagTypeDef]", tag_list(stamped(wanted.tags)))
