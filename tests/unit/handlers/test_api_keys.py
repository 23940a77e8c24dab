"""Keys are read ten names a call, decrypted, all or none (Systems Manager API Reference, GetParameters)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fifo_cli.handlers.api_keys import Keys, KeysMissingError
from fifo_cli.handlers.failure import ConfigurationError


class Ssm:
    """Parameter Store: what does not exist is named without an error; the ``fails``-th call is refused."""

    def __init__(
        self, missing: Sequence[str] = (), *, fails: int = 0, code: str = "ThrottlingException"
    ) -> None:
        self.missing, self.fails, self.code, self.calls = missing, fails, code, list[int]()

    def get_parameters(self, *, Names: Sequence[str], WithDecryption: bool) -> dict[str, Any]:
        assert WithDecryption
        assert len(Names) <= 10, "AWS refuses more"
        assert len(set(Names)) == len(Names)
        self.calls.append(len(Names))
        if len(self.calls) == self.fails:
            raise ClientError({"Error": {"Code": self.code, "Message": "Rate exceeded"}}, "GetParameters")
        found = [{"Name": name, "Value": f"value of {name}"} for name in Names if name not in self.missing]
        return {"Parameters": found, "InvalidParameters": [name for name in Names if name in self.missing]}


def keys_of(ssm: Ssm, count: int) -> Keys:
    store: Any = ssm
    return Keys(store, {f"k{n}": f"/k/{n:02}" for n in range(count)} | ({"again": "/k/00"} if count else {}))


@pytest.mark.parametrize(
    ("count", "calls"), [(0, []), (1, [1]), (10, [10]), (11, [10, 1]), (20, [10, 10]), (23, [10, 10, 3])]
)
def test_names_are_asked_for_ten_a_call_each_once(count: int, calls: list[int]) -> None:
    ssm = Ssm()
    _, values = keys_of(ssm, count).current()
    assert ssm.calls == calls
    assert len(values) == count + bool(count)
    assert all(values[f"k{n}"] == f"value of /k/{n:02}" for n in range(count))


@pytest.mark.parametrize("missing", [["/k/00"], ["/k/09", "/k/10"], ["/k/22"]])
def test_what_does_not_exist_is_named_whichever_call_it_was_in(missing: list[str]) -> None:
    with pytest.raises(KeysMissingError) as caught:
        keys_of(Ssm(missing), 23).current()
    assert ", ".join(missing) in str(caught.value)


@pytest.mark.parametrize("fails", [1, 2, 3])
def test_a_throttled_read_is_aws_s_failure_and_the_next_one_reads_all_again(fails: int) -> None:
    ssm = Ssm(fails=fails)
    keys = keys_of(ssm, 23)
    with pytest.raises(ClientError, match="Rate exceeded"):
        keys.current()
    assert ssm.calls == [10, 10, 3][:fails]
    assert len(keys.current()[1]) == 24
    assert ssm.calls[fails:] == [10, 10, 3]


@pytest.mark.parametrize(
    "code", ["AccessDeniedException", "InvalidKeyId", "ParameterVersionNotFound", "KMSDisabledException"]
)
def test_a_key_that_may_not_be_decrypted_is_a_fault_of_configuration(code: str) -> None:
    with pytest.raises(ConfigurationError, match=r"/k/10"):
        keys_of(Ssm(fails=2, code=code), 23).current()


def test_a_rotation_is_read_once_for_all_that_ask() -> None:
    ssm = Ssm()
    keys = keys_of(ssm, 3)
    generation, _ = keys.current()
    keys.renew(generation)
    keys.renew(generation)
    assert ssm.calls == [3, 3]
    assert keys.current()[0] == generation + 1
