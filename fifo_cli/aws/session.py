"""The one place where AWS clients are made: standard resolution, or the embedded stack and nothing else."""

from __future__ import annotations

import gzip
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, overload

import botocore
from botocore.config import Config
from botocore.exceptions import DataNotFoundError, InvalidRegionError
from botocore.loaders import JSONFileLoader, Loader
from botocore.session import Session

from fifo_cli import __version__
from fifo_cli.aws.call_counts import count_calls
from fifo_cli.aws.change_gate import ChangeGate
from fifo_cli.aws.consistency import AT_ONCE, ConsistencyDelays, delays_of
from fifo_cli.aws.credentials import use_every_source
from fifo_cli.aws.environment import check_endpoint, check_profile_files, check_way, naming_settings
from fifo_cli.aws.errors import calling, configuring
from fifo_cli.aws.fast_calls import make_fast
from fifo_cli.aws.foreign_responses import check_answers, served_at
from fifo_cli.aws.interruptible_calls import watch_calls
from fifo_cli.aws.read_cache import ReadCache
from fifo_cli.aws.retries import Throttles, repeat_concurrent_changes
from fifo_cli.errors import AwsError, FifoError, UsageError
from fifo_cli.model.limits import CONCURRENCY_MAX
from fifo_cli.model.names import Place

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_scheduler import EventBridgeSchedulerClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_sts import STSClient

CONNECT_TIMEOUT: Final = 5
# Longer than SQS's longest poll (20 s), so that a slow answer is not taken for a lost one.
READ_TIMEOUT: Final = 30
# With its backoff, botocore gives up on an endpoint that refuses connections after a few seconds.
ATTEMPTS: Final = 4
LOCAL_REGION: Final = "us-east-1"
# As many as the most threads a command has (drain --concurrency, and the one that receives); a connection is
# made when it is needed.
CONNECTIONS: Final = CONCURRENCY_MAX + 1
# botocore's own check lets a line break at the end through, which would end a header.
_REGION: Final = re.compile("[A-Za-z0-9-]+")
# As botocore does it: what RFC 9110 (5.6.2) does not have in a token would end the header.
_NOT_IN_A_TOKEN: Final = re.compile(r"[^A-Za-z0-9!$%&'*+\-.^_`|~]")
# Where credentials come from, by botocore's word for it.
_SOURCES: Final = {
    "env": "the environment's variables",
    "shared-credentials-file": "the credentials file",
    "config-file": "the config file",
    "assume-role": "the role of the profile",
    "assume-role-with-web-identity": "the role of a web identity",
    "sso": "the sign-in of IAM Identity Center",
    "login": "the sign-in of the AWS CLI (aws login)",
    "custom-process": "the profile's credential_process",
    "container-role": "the container's role",
    "iam-role": "the role of this EC2 instance",
}


@dataclass(frozen=True, slots=True)
class AwsEndpoint:
    """Which AWS to talk to; with ``local`` the embedded stack, by its URL and ``key`` (id, secret)."""

    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = None
    local: bool = False
    key: tuple[str, str] = field(default=("test", "test"), repr=False)


class Aws:
    """Clients of one account and region, each made once; safe to share between threads."""

    def __init__(self, endpoint: AwsEndpoint, *, delays: ConsistencyDelays | None = None) -> None:
        self.endpoint = endpoint
        self._delays = delays
        self._clients: dict[tuple[str, float, int], Any] = {}
        self._lock = threading.Lock()
        self._throttles = Throttles()
        self._changes = ChangeGate()
        self.read_cache = ReadCache()
        self._called_at = datetime.now(UTC)
        self._caller = ""
        self._clock_ahead = timedelta()
        self._signed_in = endpoint.local
        self._failure: FifoError | None = None
        with configuring("the session"):
            self._session = _local_session(endpoint) if endpoint.local else _session(endpoint)

    @property
    def region(self) -> str:
        """The region the clients talk to; raises UsageError if none is set."""
        return str(self.client("sqs").meta.region_name)

    @property
    def throttles(self) -> int:
        """How many tries AWS has throttled so far."""
        return self._throttles.count

    def before_changes(self, wait: Callable[[], None]) -> None:
        """Call ``wait`` before each call from now on that does not only read."""
        self._changes.wait_for(wait)

    @cached_property
    def place(self) -> Place:
        """Account, region and partition, asked of STS once."""
        with calling("the caller's identity"):
            identity = self.client("sts").get_caller_identity()
        self._called_at = served_at(identity["ResponseMetadata"])
        self._clock_ahead = self._called_at - datetime.now(UTC)
        self._caller = identity["Arn"]
        parts = identity["Arn"].split(":")
        if len(parts) < 6:
            raise AwsError(
                f"sts:GetCallerIdentity answered {identity['Arn']!r}, which is not an ARN",
                hint="look at --endpoint-url and $AWS_ENDPOINT_URL: what answers there is not AWS",
            )
        return Place(account=identity["Account"], region=self.region, partition=parts[1])

    @property
    def called_at(self) -> datetime:
        """When the caller's identity was asked for, by AWS's clock, in whole seconds."""
        _ = self.place
        return self._called_at

    @property
    def caller(self) -> str:
        """The ARN of who calls."""
        _ = self.place
        return self._caller

    @property
    def credentials_source(self) -> str:
        """How the credentials were found, in words; what botocore finds in a new way has its own word."""
        if self.endpoint.local:
            return "the embedded stack's own key"
        found = self._session.get_credentials()
        return "none" if found is None else _SOURCES.get(found.method, str(found.method))

    @property
    def clock_ahead(self) -> timedelta:
        """How far AWS's clock is ahead of this machine's, to within a second or two."""
        _ = self.place
        return self._clock_ahead

    @cached_property
    def delays(self) -> ConsistencyDelays:
        """How late what was changed shows; at once with ``--local`` and at endpoints on this machine."""
        if self._delays is not None:
            return self._delays
        if self.endpoint.local:
            return AT_ONCE
        changed = (self.client("sqs"), self.client("events"), self.client("scheduler"), self.client("lambda"))
        return delays_of(client.meta.endpoint_url for client in changed)

    @cached_property
    def _for_many_requests(self) -> Config:
        """What makes each of SQS's requests, of which a move makes thousands, cost a tenth less of our CPU.

        botocore would put its user agent together for each, and check each for what SQS checks, too. What is
        lost: the names of features in the user agent, and botocore's words for a parameter of a wrong type.
        """
        parts = [f"Botocore/{botocore.__version__} Python/{'.'.join(map(str, sys.version_info[:3]))}"]
        if app_id := self._session.get_config_variable("user_agent_appid"):
            parts.append(f"app/{_NOT_IN_A_TOKEN.sub('-', app_id)}")
        return Config(user_agent=" ".join(parts), parameter_validation=False)

    # fmt: off
    @overload
    def client(self, service: Literal["sqs"], *, attempts: int = ...) -> SQSClient: ...
    @overload
    def client(self, service: Literal["dynamodb"]) -> DynamoDBClient: ...
    @overload
    def client(self, service: Literal["dynamodbstreams"]) -> DynamoDBStreamsClient: ...
    @overload
    def client(
        self, service: Literal["lambda"], *, read_timeout: float = ..., attempts: int = ...
    ) -> LambdaClient: ...
    @overload
    def client(self, service: Literal["events"]) -> EventBridgeClient: ...
    @overload
    def client(self, service: Literal["scheduler"]) -> EventBridgeSchedulerClient: ...
    @overload
    def client(self, service: Literal["ssm"]) -> SSMClient: ...
    @overload
    def client(self, service: Literal["ec2", "secretsmanager"]) -> Any: ...
    @overload
    def client(self, service: Literal["iam"]) -> IAMClient: ...
    @overload
    def client(
        self, service: Literal["logs"], *, read_timeout: float = ..., attempts: int = ...
    ) -> CloudWatchLogsClient: ...
    @overload
    def client(self, service: Literal["cloudwatch"]) -> CloudWatchClient: ...
    @overload
    def client(self, service: Literal["sts"]) -> STSClient: ...
    # fmt: on
    def client(self, service: str, *, read_timeout: float = READ_TIMEOUT, attempts: int = 0) -> Any:
        """Return the client of a service.

        An invocation of a function passes a longer ``read_timeout`` and ``attempts=1``: botocore would
        otherwise invoke it a second time when the answer is slow. Without ``attempts``, $AWS_MAX_ATTEMPTS
        and the profile's ``max_attempts`` hold.
        """
        with self._lock:
            key = (service, read_timeout, attempts)
            if key not in self._clients:
                self._sign_in()
                self._clients[key] = self._made(service, read_timeout, attempts)
            return self._clients[key]

    def _sign_in(self) -> None:
        """Get the credentials before the first call, so that a prompt and a fault come before any work.

        A failure holds for this run: whoever reads many things side by side must not ask for a code for each.
        """
        if self._failure is not None:
            raise self._failure
        if self._signed_in:
            return
        try:
            with configuring("the credentials"), naming_settings(self._session):
                credentials = self._session.get_credentials()
                if credentials is not None:
                    credentials.get_frozen_credentials()
        except FifoError as failure:
            self._failure = failure
            raise
        self._signed_in = True

    def _made(self, service: str, read_timeout: float, attempts: int) -> Any:
        config = Config(read_timeout=read_timeout, max_pool_connections=CONNECTIONS)
        if self.endpoint.local:
            # The embedded stack is on loopback, where no proxy of the environment's can reach it.
            config = config.merge(Config(proxies={}))
        if attempts:
            config = config.merge(Config(retries={"mode": "standard", "total_max_attempts": attempts}))
        if service == "sqs":
            config = config.merge(self._for_many_requests)
        endpoint = self.endpoint.endpoint_url
        if endpoint is not None:
            check_endpoint(self._session, endpoint, given=endpoint)
        with configuring(service), naming_settings(self._session):
            client = self._session.create_client(service, endpoint_url=endpoint, config=config)
            if not _REGION.fullmatch(client.meta.region_name):
                raise InvalidRegionError(region_name=client.meta.region_name)
            if not self.endpoint.local:
                check_endpoint(self._session, client.meta.endpoint_url, given=endpoint)
                check_way(self._session, client.meta.endpoint_url)
        check_answers(client)
        repeat_concurrent_changes(client)
        self._throttles.watch(client)
        self._changes.watch(client)
        if service in {"sqs", "logs"}:
            make_fast(client)
        self.read_cache.watch(client)
        count_calls(client)
        return client


class _Session(Session):
    """A session whose clients are watched, those by which botocore itself finds credentials, too."""

    def create_client(self, *args: Any, **kwargs: Any) -> Any:
        """Return a client whose calls end when they are given up after a signal."""
        client = super().create_client(*args, **kwargs)
        watch_calls(client)
        return client


class _Loader(Loader):
    """Reads botocore's service models; to know whether there is a service takes no look into 400 folders."""

    def list_available_services(self, type_name: str) -> Any:
        """Return the services that ``load_service_model`` will load, all of them."""
        return _Services(self, super().list_available_services, type_name)


class JsonFiles(JSONFileLoader):
    """Reads botocore's JSON files into plain dicts.

    Into ordered ones, as botocore does, takes twice as long: 8 ms more of a `depth`, 20 ms of a `status`.
    """

    def load_file(self, file_path: str) -> Any:
        """Return what is in a file, whose path comes without its ending; None without such a file."""
        with suppress(FileNotFoundError), open(f"{file_path}.json", "rb") as plain:
            return json.load(plain)
        with suppress(FileNotFoundError), gzip.open(f"{file_path}.json.gz") as packed:
            return json.load(packed)
        return None


class _Services(Sequence[str]):
    """The services that a loader has a model of; they are listed only when somebody goes through them."""

    def __init__(self, loader: Loader, listed: Callable[[str], list[str]], type_name: str) -> None:
        self._loader = loader
        self._listed = listed
        self._type_name = type_name

    def __contains__(self, service: object) -> bool:
        try:
            return bool(self._loader.list_api_versions(str(service), self._type_name))
        except DataNotFoundError:
            return False

    def __len__(self) -> int:
        return len(self._listed(self._type_name))

    def __getitem__(self, index: Any) -> Any:
        return self._listed(self._type_name)[index]


def _session(endpoint: AwsEndpoint) -> Session:
    check_profile_files()
    # botocore's own session: boto3's would load resources and S3 transfers, which nothing here uses.
    session = _trimmed(_Session(profile=endpoint.profile))
    # botocore reads $AWS_DEFAULT_REGION only; AWS's other SDKs and its CLI read $AWS_REGION, and first.
    region = endpoint.region or os.environ.get("AWS_REGION")
    if region:
        session.set_config_variable("region", region)
    # For the clients that fetch credentials, too.
    with naming_settings(session):
        session.set_default_client_config(_bounded(session))
        use_every_source(session)
    return session


def _local_session(endpoint: AwsEndpoint) -> Session:
    """Build a session that reads nothing of the user's, neither profiles, credentials nor variables."""
    variables = {
        name: (None, None, default, convert)
        for name, (_, _, default, convert) in Session.SESSION_VARIABLES.items()
    }
    nothing = (None, None, os.devnull, None)
    variables |= {"config_file": nothing, "credentials_file": nothing}
    session = _trimmed(_Session(session_vars=variables))
    session.set_credentials(*endpoint.key)
    session.set_config_variable("region", endpoint.region or LOCAL_REGION)
    session.set_default_client_config(_bounded(session))
    return session


def _bounded(session: Session) -> Config:
    """What every client has: bounds on its waiting, and as many tries as the user wants."""
    return Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        retries={"mode": "standard", "total_max_attempts": _attempts(session)},
        tcp_keepalive=True,
        user_agent_extra=f"fifo-cli/{__version__}",
    )


def _attempts(session: Session) -> int:
    try:
        attempts = int(session.get_config_variable("max_attempts") or ATTEMPTS)
    except ValueError:
        attempts = 0
    if attempts < 1:
        raise UsageError(
            "$AWS_MAX_ATTEMPTS or the profile's max_attempts is not a whole number from 1",
            hint=f"set one, or leave it out: {ATTEMPTS} attempts then",
        )
    return attempts


def _trimmed(session: Session) -> Session:
    paths = session.get_config_variable("data_path")
    more = [os.path.expanduser(os.path.expandvars(path)) for path in (paths or "").split(os.pathsep) if path]
    session.register_component("data_loader", _Loader(extra_search_paths=more, file_loader=JsonFiles()))
    return session
