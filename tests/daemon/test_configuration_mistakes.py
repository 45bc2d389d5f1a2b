"""Mistakes in the configuration: all at once, each with its full key, what would be right, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from annotated_types import Ge
from pydantic import ValidationError

from wa_supervisor.config import AdminSettings, GatewaySettings, Settings, StatusSettings, load_settings
from wa_supervisor.config.catalogue import field_of
from wa_supervisor.config.contradictions import ARITHMETIC, AtMost
from wa_supervisor.config.environment import variable_of
from wa_supervisor.domain.errors import ConfigurationError
from wa_supervisor.domain.names import GatewayName

GATEWAY = '[gateways.main]\nurl = "http://127.0.0.1:21465"\n'


def mistakes(folder: Path, text: str | bytes = GATEWAY, environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the mistakes of `text` and `environ`, with the file's path shortened to FILE."""
    file = folder / "config.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError) as caught:
        load_settings(file, environ or {})
    return [each.replace(str(file), "FILE") for each in caught.value.mistakes]


def least(key: str) -> float:
    """Return the least value that the setting allows."""
    field = field_of(tuple(key.split(".")))
    assert field is not None
    return float(str(next(each.ge for each in field.metadata if isinstance(each, Ge))))


def written(key: str, value: float) -> str:
    """Return the value as the setting wants it: whole, if it counts something."""
    field = field_of(tuple(key.split(".")))
    assert field is not None
    return str(int(value) if field.annotation is int else value)


def test_mistakes_of_all_layers_and_kinds_come_at_once(tmp_path: Path) -> None:
    text = """
        [redis]
        prefx = "wa"
        url = "http://127.0.0.1"
        [gateways.eu]
        secret_file = "missing"
        [status]
        refresh = 40
        """
    environ = {
        "WA_SUPERVISOR_POSTGRES__POOL_SIZE": "four",
        "WA_SUPERVISOR_REDIS_PREFIX": "x",
        "LOG_LEVEL": "loud",
        "DATABASE_URL": "mysql://db",
    }
    found = mistakes(tmp_path, text, environ)
    assert {each.split(": ")[0] for each in found} == {
        "redis.prefx",
        "redis.url",
        "gateways.eu.url",
        "gateways.eu.secret_file",
        "status.refresh",
        "postgres.pool_size",
        "redis_prefix",
        "daemon.log_level",
        "postgres.url",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '[gateways.main]\nurl = "ftp://x"',
            'gateways.main.url: "ftp://x" is not an http(s) URL; give e.g. "http://127.0.0.1:21465" (from FILE)',
        ),
        (
            "[gateways.main]",
            'gateways.main.url: is missing; give e.g. "http://127.0.0.1:21465" (from FILE)',
        ),
        (
            GATEWAY + '[postgres]\npool_size = "4"',
            'postgres.pool_size: "4" is not a whole number; give one from 1 to 100 (from FILE)',
        ),
        (
            GATEWAY + "[wish]\nresync = 0.5",
            "wish.resync: 0.5 is too small; give a number from 1 to 3600 (from FILE)",
        ),
        (
            GATEWAY + "[wish]\nresync = inf",
            "wish.resync: Infinity is not a number that ends; give one from 1 to 3600 (from FILE)",
        ),
        (
            GATEWAY + '[metrics]\nper_session = "some"',
            'metrics.per_session: "some" is not a known word; give one of "full", "state", "off" (from FILE)',
        ),
        (
            GATEWAY + '[typing]\nenabled = "yes"',
            'typing.enabled: "yes" is neither true nor false (from FILE)',
        ),
        (
            GATEWAY + "[wish]\ndefault_gateway = 3",
            "wish.default_gateway: 3 is not text in quotes (from FILE)",
        ),
        (
            GATEWAY + '[wish]\ndefault_gateway = "eu"',
            (
                'wish.default_gateway: "eu" is no gateway; give one of main, or add a section [gateways.eu] '
                "(wish.default_gateway from FILE)"
            ),
        ),
        (
            GATEWAY + '[admin]\nhost = "0.0.0.0"',
            (
                'admin.host: "0.0.0.0" is not this machine; give "127.0.0.1" or "::1", because the admin server asks '
                "nobody for a password yet (from FILE)"
            ),
        ),
        (
            '[gateways.main]\nurl = "http://[x"',
            'gateways.main.url: "http://[x" is not an http(s) URL; give e.g. "http://127.0.0.1:21465" (from FILE)',
        ),
        (
            '[gateways.main]\nurl = "http://x?y"',
            (
                'gateways.main.url: "http://x?y" must end before "?" and "#"; '
                'give e.g. "http://127.0.0.1:21465" (from FILE)'
            ),
        ),
        (
            GATEWAY + f"[people]\ncache_size = 0x{'f' * 6000}",
            "people.cache_size: its value is too large; give a number from 0 to 10000000 (from FILE)",
        ),
        (GATEWAY + "[redis]\nprefx = 1", "redis.prefx: is not a setting; did you mean redis.prefix? (from FILE)"),
        (GATEWAY + "[reddis]\nurl = 1", "reddis: is not a setting; did you mean redis? (from FILE)"),
        (
            GATEWAY + "[redis]\npool_size = 1",
            "redis.pool_size: is not a setting; did you mean postgres.pool_size? (from FILE)",
        ),
        ('log_level = "info"\n' + GATEWAY, "log_level: is not a setting; did you mean daemon.log_level? (from FILE)"),
        (
            GATEWAY + "sekret = 1",
            "gateways.main.sekret: is not a setting; did you mean gateways.main.secret? (from FILE)",
        ),
        (
            GATEWAY + "[dead_letters]\nqqqqqqqqq = 1",
            "dead_letters.qqqqqqqqq: is not a setting; there are maxlen (from FILE)",
        ),
        ("redis = 1\n" + GATEWAY, "redis: is not a table; write [redis] and its keys below (from FILE)"),
        ("gateways = 1", "gateways: is not a table; write [gateways.NAME] and its keys below (from FILE)"),
        ("[gateways]\nmain = 1", "gateways.main: is not a table; write [gateways.main] and its keys below (from FILE)"),
        (
            '[gateways."a b"]\nurl = "http://x"',
            'gateways."a b": is not a name; give 1 to 40 letters, digits, "_" or "-" (from FILE)',
        ),
        (
            GATEWAY + '[daemon]\nid = "a b"',
            'daemon.id: "a b" is not a name; give up to 64 letters, digits, ".", "_" or "-" (from FILE)',
        ),
        (
            GATEWAY + '[embedded]\nstate_dir = "~/x"',
            'embedded.state_dir: "~/x" starts with "~", which only a shell expands; write the whole path (from FILE)',
        ),
        (
            GATEWAY + '[redis]\nprefix = "a\\u0007b"',
            (
                'redis.prefix: "a\\u0007b" is not a prefix; give letters, digits, ".", "_" or "-", with single ":" '
                "between parts (from FILE)"
            ),
        ),
    ],
)
def test_each_mistake_names_key_value_remedy_and_layer(tmp_path: Path, text: str, expected: str) -> None:
    assert mistakes(tmp_path, text) == [expected]


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        (
            "WA_SUPERVISOR_GATEWAYS__MAIN__URL",
            "ftp://x",
            (
                'gateways.main.url: "ftp://x" is not an http(s) URL; give e.g. "http://127.0.0.1:21465" '
                "(from environment WA_SUPERVISOR_GATEWAYS__MAIN__URL)"
            ),
        ),
        (
            "WPPCONNECT_RECONNECT_DELAY",
            "soon",
            (
                'gateways.main.reconnect_initial: "soon" is not a number; give one from 0.1 to 3600 '
                "(from environment WPPCONNECT_RECONNECT_DELAY)"
            ),
        ),
        (
            "WA_SUPERVISOR_REDIS_URL",
            "redis://x",
            (
                "redis_url: is not a setting; did you mean WA_SUPERVISOR_REDIS__URL? "
                "(from environment WA_SUPERVISOR_REDIS_URL)"
            ),
        ),
        (
            "WA_SUPERVISOR_GATEWAYS__MAIN__SEKRET",
            "x",
            (
                "gateways.main.sekret: is not a setting; did you mean WA_SUPERVISOR_GATEWAYS__MAIN__SECRET? "
                "(from environment WA_SUPERVISOR_GATEWAYS__MAIN__SEKRET)"
            ),
        ),
        (
            "WA_SUPERVISOR_0",
            "x",
            (
                "0: is not a setting; variables are called WA_SUPERVISOR_<SECTION>__<KEY>, with two underscores "
                "between them (from environment WA_SUPERVISOR_0)"
            ),
        ),
        (
            "WA_SUPERVISOR_TYPING__ENABLED",
            "perhaps",
            'typing.enabled: "perhaps" is neither true nor false (from environment WA_SUPERVISOR_TYPING__ENABLED)',
        ),
        (
            "WA_SUPERVISOR_GATEWAYS__EU__SECRET",
            "x",
            (
                'gateways.eu.url: is missing; give e.g. "http://127.0.0.1:21465" '
                "(from environment WA_SUPERVISOR_GATEWAYS__EU__SECRET)"
            ),
        ),
    ],
)
def test_mistakes_in_variables_name_the_variable(tmp_path: Path, variable: str, text: str, expected: str) -> None:
    assert mistakes(tmp_path, GATEWAY, {variable: text}) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"[redis\n", "FILE, line 1, column 7: Expected ']' at the end of a table declaration"),
        (b"a = 1\nb = = 2\n", "FILE, line 2, column 5: Invalid value"),
        (b"a = 1\nb = [1,", "FILE, line 2, column 8: Invalid value, where the file ends"),
        (b"a = 1\nb = '\xff'", "FILE, line 2, column 6: a byte that is not UTF-8; save the file as UTF-8"),
        (b"a = " + b"[" * 100_000, "FILE: is nested too deeply; a configuration has tables of keys and nothing below"),
        (b"a = " + b"9" * 5000, "FILE: a number with thousands of digits; give one that fits its setting"),
    ],
)
def test_file_that_is_no_toml_is_named_with_line_and_column(tmp_path: Path, text: bytes, expected: str) -> None:
    assert mistakes(tmp_path, text) == [expected]


def test_default_file_that_is_there_and_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    loop = tmp_path / "loop.toml"
    loop.symlink_to(loop)
    with pytest.raises(ConfigurationError, match=r"loop\.toml: cannot be read: Too many levels of symbolic links"):
        load_settings(None, {}, default_path=loop)


def test_advice_of_an_arithmetic_rule_is_enough_when_followed(tmp_path: Path) -> None:
    (mistake,) = mistakes(tmp_path, GATEWAY + "[status]\nttl = 20\n")
    advised = mistake.split("give at most ")[1].split()[0]
    (tmp_path / "config.toml").write_text(GATEWAY + f"[status]\nttl = 20\nrefresh = {advised}\n")
    assert load_settings(tmp_path / "config.toml", {}).settings.status.refresh == float(advised) == 6.666


def test_folder_as_configuration_file_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        load_settings(tmp_path, {})


@pytest.mark.parametrize("rule", ARITHMETIC, ids=lambda rule: rule.key)
def test_each_arithmetic_rule_is_enforced_and_names_both_keys_and_their_layers(tmp_path: Path, rule: AtMost) -> None:
    key, of = rule.key.replace("*", "main"), rule.of.replace("*", "main")
    bound = least(of)
    environ = {variable_of(tuple(of.split("."))): written(of, bound)}

    def found(value: float) -> list[str]:
        (tmp_path / "config.toml").write_text(GATEWAY)
        both = {**environ, variable_of(tuple(key.split("."))): written(key, value)}
        try:
            load_settings(tmp_path / "config.toml", both)
        except ConfigurationError as error:
            return [each for each in error.mistakes if each.startswith(f"{key}: ") and f"{of} (" in each]
        return []

    (mistake,) = found(bound * rule.share * 1.1)
    assert rule.why in mistake
    assert f"{key} from environment WA_SUPERVISOR_" in mistake
    assert f"{of} from environment WA_SUPERVISOR_" in mistake
    assert found(bound * rule.share) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_admin_server_may_listen_on_any_address_of_this_machine(host: str) -> None:
    assert AdminSettings(host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "gateway.lan", ""])
def test_admin_server_may_not_listen_elsewhere(host: str) -> None:
    with pytest.raises(ValidationError, match="because the admin server asks nobody for a password yet"):
        AdminSettings(host=host)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("http://gw", "http://gw:80/", True),
        ("http://GW:21465", "http://gw:21465", True),
        ("https://gw", "http://gw:443", True),
        ("http://gw:21465", "http://gw:21466", False),
        ("http://gw/a", "http://gw/b", False),
    ],
)
def test_two_gateways_at_one_address_are_a_mistake(first: str, second: str, *, same: bool) -> None:
    gateways = {GatewayName("a"): GatewaySettings(url=first), GatewayName("b"): GatewaySettings(url=second)}
    if not same:
        assert Settings(gateways=gateways).gateways == gateways
        return
    with pytest.raises(ValidationError, match=r"gateways\.b\.url is the same server as gateways\.a\.url"):
        Settings(gateways=gateways)


def test_gateways_whose_variables_would_be_the_same_are_a_mistake(tmp_path: Path) -> None:
    text = '[gateways.eu-1]\nurl = "http://a"\n[gateways.EU_1]\nurl = "http://b"\n'
    (mistake,) = mistakes(tmp_path, text)
    assert mistake.startswith("gateways.EU_1: differs from gateways.eu-1 in case or dashes only")


def test_contradiction_about_a_value_that_is_wrong_anyway_is_not_told(tmp_path: Path) -> None:
    found = mistakes(tmp_path, GATEWAY + "[status]\nttl = 1\nrefresh = 1000\n[typing]\nrefresh = 50\nlongest = 20\n")
    assert [each.split(": ")[0] for each in found] == ["status.ttl", "typing.refresh"]


def test_settings_built_in_code_are_checked_too() -> None:
    with pytest.raises(ValidationError, match=r"status\.refresh 40 is more than a third of status\.ttl"):
        Settings(status=StatusSettings(ttl=60.0, refresh=40.0))
    with pytest.raises(ValidationError):
        Settings.model_validate({"redis": {"urll": "x"}})


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().redis.prefix = "x"  # type: ignore[misc]  # that this is impossible is what the test shows
