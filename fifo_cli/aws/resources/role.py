"""IAM roles as resources: who may assume them, one inline policy, a boundary, tags."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from fifo_cli.aws.errors import unless_missing
from fifo_cli.aws.resources.gateway import Gateway, tag_list, tag_map
from fifo_cli.aws.resources.network_interface import NetworkInterfaces
from fifo_cli.model.resources import Found, Resource, makes_interfaces, stamped

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

POLICY_NAME: Final = "fifo-cli"


@dataclass(frozen=True, slots=True)
class RoleAdmin(Gateway):
    """Roles by name."""

    iam: IAMClient
    interfaces: NetworkInterfaces | None = None
    title: ClassVar[str] = "role"
    exists_codes: ClassVar[frozenset[str]] = frozenset(
        {"EntityAlreadyExists", "EntityAlreadyExistsException"}
    )

    def _read(self, name: str) -> Found:
        role = self.iam.get_role(RoleName=name)["Role"]
        inline, attached = self._inline(name), self._attached(name)
        properties: dict[str, Any] = {
            "trust": _parsed(role.get("AssumeRolePolicyDocument")),
            "policy": self._policy(name),
            "permissions_boundary": role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
            # What is attached besides our one policy: inline policies by name, managed ones by ARN.
            "other_policies": sorted({*inline, *attached} - {POLICY_NAME}),
        }
        return Found("role", name, properties, tag_map(role.get("Tags")), {"arn": role["Arn"]})

    def _create(self, wanted: Resource) -> None:
        boundary = wanted.properties["permissions_boundary"]
        self.iam.create_role(
            RoleName=wanted.name,
            AssumeRolePolicyDocument=json.dumps(wanted.properties["trust"]),
            Description="What a function of a fifo-cli pipeline may do",
            Tags=tag_list(stamped(wanted.tags)),
            **({"PermissionsBoundary": boundary} if boundary else {}),
        )
        self._put_policy(wanted)

    def _update(self, wanted: Resource, found: Found, changed: frozenset[str]) -> None:
        name, properties = wanted.name, wanted.properties
        boundary = properties["permissions_boundary"]
        # The boundary first: a deployer that is held to it may change only roles that have it.
        if "permissions_boundary" in changed and boundary:
            self.iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=boundary)
        if "policy" in changed:
            self._put_policy(wanted)
        if "trust" in changed:
            self.iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(properties["trust"]))
        if "permissions_boundary" in changed and not boundary:
            self.iam.delete_role_permissions_boundary(RoleName=name)
        if "other_policies" in changed:
            self._take_off(name, keep={POLICY_NAME})
        self.iam.tag_role(RoleName=name, Tags=tag_list(stamped(wanted.tags)))

    def _delete(self, found: Found) -> None:
        """Delete a role with its inline policies; managed ones are taken off, as IAM demands.

        A role that Lambda needs to delete the network interfaces of its function is kept until that is done
        (Lambda Developer Guide, "Giving Lambda functions access to resources in an Amazon VPC").
        """
        if self.interfaces is not None and makes_interfaces(found):
            self.interfaces.wait_deleted(found.name)
        self._take_off(found.name)
        self.iam.delete_role(RoleName=found.name)

    def _take_off(self, name: str, *, keep: Collection[str] = ()) -> None:
        """Take off inline and managed policies; an earlier try of a call may have done so already."""
        for policy in self._inline(name):
            if policy not in keep:
                unless_missing(partial(self.iam.delete_role_policy, RoleName=name, PolicyName=policy))
        for arn in self._attached(name):
            unless_missing(partial(self.iam.detach_role_policy, RoleName=name, PolicyArn=arn))

    def _inline(self, name: str) -> list[str]:
        pages = self.iam.get_paginator("list_role_policies").paginate(RoleName=name)
        return [policy for page in pages for policy in page["PolicyNames"]]

    def _attached(self, name: str) -> list[str]:
        pages = self.iam.get_paginator("list_attached_role_policies").paginate(RoleName=name)
        return [one["PolicyArn"] for page in pages for one in page["AttachedPolicies"]]

    def _policy(self, name: str) -> Any:
        answer = unless_missing(lambda: self.iam.get_role_policy(RoleName=name, PolicyName=POLICY_NAME))
        return _parsed(answer["PolicyDocument"]) if answer else None

    def _put_policy(self, wanted: Resource) -> None:
        document = json.dumps(wanted.properties["policy"])
        self.iam.put_role_policy(RoleName=wanted.name, PolicyName=POLICY_NAME, PolicyDocument=document)


def _parsed(document: Any) -> Any:
    """Return a policy as JSON; botocore decodes IAM's, yet passes on as text what it cannot."""
    return json.loads(document) if isinstance(document, str) else document
