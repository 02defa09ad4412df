"""Every event reaches the broker: in order, at least once, whatever happens to either side."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from archived.api import EVENTS
from archived.storage.published_head import read_heads
from archived.testing.ports import free_port

pytestmark = pytest.mark.skipif(
    not Path("/usr/sbin/mosquitto").exists(), reason="mosquitto is not installed"
)


def schema() -> dict:
    """The payload's JSON schema, as documented."""
    page = Path(__file__).parents[3] / "docs" / "events.md"
    text = page.read_text()
    return json.loads(text.split("```json schema\n")[1].split("```")[0])


VERSIONS = {"5": mqtt.MQTTv5, "3.1.1": mqtt.MQTTv311}


class Ear:
    """A durable subscriber: keeps its session while it or the broker is away."""

    def __init__(self, port: int, protocol: str, prefix: str = "archived") -> None:
        self.events: list[dict] = []
        self.status: list[str] = []
        self.heads: list[str] = []
        self.bad: list[str] = []
        self.subscribed = threading.Event()
        self._check = jsonschema.Draft202012Validator(
            schema(), format_checker=jsonschema.FormatChecker()
        )
        self._prefix = prefix
        self._five = protocol == "5"
        kept = {} if self._five else {"clean_session": False}
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id="ear", protocol=VERSIONS[protocol], **kept
        )
        self.client.username_pw_set("archived", "secret")
        self.client.on_connect = lambda c, *_: c.subscribe(f"{prefix}/#", qos=1)
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.on_disconnect = lambda *_: self.subscribed.clear()
        self.client.on_message = self._heard
        self.client.reconnect_delay_set(0.1, 0.5)
        kept = {}
        if self._five:
            expiry = Properties(PacketTypes.CONNECT)
            expiry.SessionExpiryInterval = 3600
            kept = {"clean_start": False, "properties": expiry}
        self.client.connect("127.0.0.1", port, **kept)
        self.client.loop_start()

    def _heard(self, _client, _data, message) -> None:
        if self._five:
            plain = message.topic.endswith(("/status", "/ledger-head"))
            wanted = "text/plain" if plain else "application/json"
            told = message.properties.json()
            if (told["ContentType"], told["PayloadFormatIndicator"]) != (wanted, 1):
                self.bad.append(f"{message.topic}: {told}")
        if message.topic == f"{self._prefix}/status":
            self.status.append(message.payload.decode())
            return
        if message.topic == f"{self._prefix}/ledger-head":
            self.heads.append(message.payload.decode())
            return
        event = json.loads(message.payload)
        self.bad += [error.message for error in self._check.iter_errors(event)]
        if message.topic != f"{self._prefix}/events/{event['event']}" or message.qos != 1:
            self.bad.append(f"{message.topic} QoS {message.qos}")
        self.events.append(event)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Broker:
    """mosquitto with a password, once plain and once with TLS."""

    def __init__(self, folder: Path, port: int, tls_port: int) -> None:
        self.folder, self.port, self.tls_port = folder, port, tls_port
        folder.mkdir()
        (folder / "db").mkdir()
        self.ca = folder / "ca.pem"
        _certificates(folder)
        passwords = folder / "passwords"
        subprocess.run(
            ["mosquitto_passwd", "-b", "-c", str(passwords), "archived", "secret"],
            check=True,
            capture_output=True,
        )
        config = [
            "per_listener_settings false",
            "allow_anonymous false",
            f"password_file {passwords}",
            "persistence true",
            f"persistence_location {folder}/db/",
            "autosave_on_changes true",
            "autosave_interval 1",
            "max_queued_messages 0",
            "max_inflight_messages 0",
            f"listener {port} 127.0.0.1",
            f"listener {tls_port} 127.0.0.1",
            f"cafile {self.ca}",
            f"certfile {folder}/server.pem",
            f"keyfile {folder}/server.key",
        ]
        if os.geteuid() == 0:
            config.append("user root")
        (folder / "mosquitto.conf").write_text("\n".join(config) + "\n")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["/usr/sbin/mosquitto", "-c", str(self.folder / "mosquitto.conf")],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait(30)


def _certificates(folder: Path) -> None:
    """A throw-away CA and a certificate for localhost."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.now(UTC)

    def make(name: str, file: str, issuer, issuer_key, extension):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(extension, critical=False)
        )
        made = builder.sign(issuer_key or key, hashes.SHA256())
        (folder / f"{file}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        (folder / f"{file}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return subject, key

    for ca in ("ca", "other-ca"):
        authority = x509.BasicConstraints(ca=True, path_length=None)
        subject, key = make(f"A {ca} for a test", ca, None, None, authority)
        if ca == "ca":
            names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
            make("localhost", "server", subject, key, names)


@pytest.fixture(params=["5", "3.1.1"])
def protocol(request) -> str:
    """What both sides speak."""
    return request.param


@pytest.fixture
def broker(box, tmp_path, until, protocol) -> Iterator[Broker]:
    from socket import create_connection

    broker = Broker(tmp_path / "broker", free_port(), free_port())
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "password").chmod(0o600)
    box.tables["mqtt"] = {
        "host": "localhost",
        "port": broker.port,
        "username": "archived",
        "protocol": protocol,
        "password": {"file": tmp_path / "password"},
        "keepalive": "5 s",
    }
    broker.start()

    def listens() -> bool:
        with contextlib.suppress(OSError), create_connection(("127.0.0.1", broker.port), 1):
            return True
        return False

    try:
        until(listens, "the broker listens")
        yield broker
    finally:
        broker.end()


@pytest.fixture
def ear(broker, until, protocol) -> Iterator[Ear]:
    ear = Ear(broker.port, protocol)
    until(ear.subscribed.is_set, "subscribed")
    yield ear
    ear.close()


def _all_heard(box, ear, until) -> list[int]:
    """Wait until the outbox is empty and heard; the sequences in the order of their arrival."""

    def done() -> bool:
        wanted = {row[0] for row in box.rows("SELECT sequence FROM outbox")}
        return bool(wanted) and wanted == {event["sequence"] for event in ear.events}

    def missing() -> list[int]:
        known = {event["sequence"] for event in ear.events}
        return [row[0] for row in box.rows("SELECT sequence FROM outbox") if row[0] not in known]

    until(done, "every event was heard", else_show=missing)
    return [event["sequence"] for event in ear.events]


def test_events_arrive_over_tls_in_order_and_as_documented(box, broker, ear, until):
    box.tables["mqtt"] |= {"tls": True, "ca": broker.ca, "port": broker.tls_port}
    box.plugin("gate", GATE_THAT_REFUSES)
    box.tables["hotfolder.odd"] = {"path": box.hot("odd"), "pipeline": "odd"}
    box.tables["pipeline.odd"] = {"stages": ["picky", "seal"]}
    box.start()
    box.drop("a.txt", "b.txt")
    box.drop("c.txt", folder="odd")
    (box.hot() / ".hidden").write_text("x")
    box.sealed("a.txt", "b.txt")
    until(lambda: box.states().get("c.txt") == "held", "held")
    heard = _all_heard(box, ear, until)
    assert heard == sorted(set(heard)), "in order, once"
    assert ear.bad == []
    names = {event["event"] for event in ear.events}
    assert (
        {
            "document-admitted",
            "step-finished",
            "document-sealed",
            "document-held",
            "arrival-ignored",
        }
        <= names
        <= set(EVENTS)
    )
    sealed = next(e for e in ear.events if e["event"] == "document-sealed")
    assert sealed["document"] in {row[3] for row in box.documents().values()}
    assert sealed["hotfolder"] == "scans"
    assert box.metric("archived_mqtt_connected") == {(): 1}
    assert box.metric("archived_events_published_total") == {(): len(heard)}
    until(lambda: ear.status == ["online"], "online")
    assert box.end() == 0
    until(lambda: ear.status == ["online", "offline"], "a good-bye")


def test_the_ledgers_head_is_retained_for_a_witness(box, broker, ear, until):
    box.start()
    until(lambda: ear.heads, "a head")
    late = Ear2(broker.port)
    until(lambda: late.heads == ear.heads[-1:], "retained")
    late.close()
    [head] = read_heads(ear.heads[-1])
    assert box.rows(f"SELECT hash FROM ledger WHERE sequence = {head.sequence}") == [(head.hash,)]


def test_after_a_kill_the_broker_says_offline_and_a_restart_sends_only_what_is_new(
    box, broker, ear, until
):
    box.start()
    box.drop("a.txt")
    box.sealed("a.txt")
    before = _all_heard(box, ear, until)
    until(
        lambda: box.rows("SELECT sequence FROM reader WHERE name = 'mqtt'") == [(before[-1],)],
        "what was acknowledged is on record",
    )
    box.end(signal.SIGKILL)
    until(lambda: ear.status == ["online", "offline"], "the last will")
    late = Ear2(broker.port)
    until(lambda: late.status == ["offline"], "retained")
    late.close()
    box.start()
    box.drop("b.txt")
    box.sealed("b.txt")
    heard = _all_heard(box, ear, until)
    assert heard == sorted(set(heard)), "nothing was sent again"
    assert ear.status[-1] == "online"


def test_a_broker_killed_and_restarted_under_load_misses_nothing(box, broker, ear, until):
    names = [f"{n}.txt" for n in range(40)]
    box.start()
    for number, name in enumerate(names):
        box.drop(name)
        if number in {10, 25}:
            until(lambda: box.rows("SELECT count(*) FROM document")[0][0] > 3, "under load")
            # What a broker took and had nobody to give to dies with it: that is not ours to mend.
            until(ear.subscribed.is_set, "somebody listens")
            broker.end(signal.SIGKILL)
            until(lambda: box.metric("archived_mqtt_connected") == {(): 0}, "noticed")
            broker.start()
    box.sealed(*names)
    heard = _all_heard(box, ear, until)
    firsts = list(dict.fromkeys(heard))
    assert firsts == sorted(firsts), "in order, when repeats are dropped"
    assert ear.bad == []
    assert len(heard) - len(firsts) <= 40, "repeats are few"


def test_a_broker_that_is_down_or_refuses_us_does_not_hold_up_a_document(
    box, broker, ear, until, tmp_path
):
    broker.end()
    (tmp_path / "password").write_text("wrong")
    box.start()
    box.drop("a.txt")
    box.sealed("a.txt")
    until(lambda: box.said("mqtt-lost"), "the log says so")
    assert "Connection refused" in box.said("mqtt-lost")[0]["why"]
    assert box.get("/readyz")[0] == 200
    broker.start()
    until(lambda: [s for s in box.said("mqtt-lost") if "ot authori" in s["why"]], "not authorized")
    box.tables["mqtt"] |= {
        "tls": True,
        "ca": broker.folder / "other-ca.pem",
        "port": broker.tls_port,
    }
    (tmp_path / "password").write_text("secret")
    box.reload()
    until(
        lambda: [s for s in box.said("mqtt-lost") if "CERTIFICATE_VERIFY_FAILED" in s["why"]],
        "the wrong authority",
    )
    box.tables["mqtt"]["ca"] = broker.ca
    box.reload()
    heard = _all_heard(box, ear, until)
    assert heard == sorted(set(heard))
    del box.tables["mqtt"]
    box.reload()
    assert box.metric("archived_mqtt_connected") == {}, "no alert about a broker nobody wants"


def test_a_broker_that_hangs_does_not_keep_the_daemon_from_stopping(box, broker, ear, until):
    box.start()
    box.drop("a.txt")
    box.sealed("a.txt")
    _all_heard(box, ear, until)
    broker.process.send_signal(signal.SIGSTOP)
    box.drop("b.txt")
    box.sealed("b.txt")
    began = time.monotonic()
    assert box.end() == 0
    assert time.monotonic() - began < 15
    broker.process.send_signal(signal.SIGCONT)
    box.start()
    _all_heard(box, ear, until)


def test_what_the_broker_speaks_is_what_was_configured(box, broker, ear, until, protocol):
    box.start()
    until(lambda: ear.status == ["online"], "online")
    number = {"5": "p5", "3.1.1": "p2"}[protocol]  # as mosquitto's log has it
    until(lambda: f" as archived ({number}," in (broker.folder / "log").read_text(), "in its log")
    assert ear.bad == []


def test_a_refused_event_stays_queued_and_is_sent_when_it_is_allowed(
    box, broker, ear, until, protocol
):
    """With 5. A broker cannot refuse one with 3.1.1: it takes it and gives it to nobody."""
    rules = broker.folder / "acl"
    own = "user archived\ntopic read #\ntopic write archived/status\n"
    rules.write_text(own)
    rules.chmod(0o600)
    with (broker.folder / "mosquitto.conf").open("a") as config:
        config.write(f"acl_file {rules}\n")
    broker.end()
    broker.start()
    until(ear.subscribed.is_set, "subscribed")
    box.start()
    box.drop("a.txt")
    box.sealed("a.txt")
    if protocol == "3.1.1":
        until(lambda: box.metric("archived_outbox_lag_events")["mqtt",] == 0, "taken")
        assert ear.events == []
        return
    why = until(lambda: box.said("mqtt-lost"), "told")[0]["why"]
    assert why.startswith("the broker refuses archived/events/document-admitted: Not authorized")
    assert "what the broker allows this user" in why
    assert box.metric("archived_outbox_lag_events")["mqtt",] > 0
    rules.write_text(f"{own}topic write archived/events/#\n")
    broker.process.send_signal(signal.SIGHUP)
    heard = _all_heard(box, ear, until)
    assert heard == sorted(set(heard)), "in order, once"
    assert until(lambda: box.said("ledger-head-refused"), "events go on without the head")


OTHER_VERSION = (
    "the broker does not speak MQTT 5 (Unsupported protocol version, reason code 132): set "
    'protocol = "3.1.1" in [mqtt]'
)


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([b"\x20\x02\x00\x01"], OTHER_VERSION),  # return code 1, as brokers of 3.1.1 refuse
        ([b"\x20\x03\x00\x84\x00"], OTHER_VERSION),
        (
            [b"\x20\x03\x00\x85\x00"],
            "Client identifier not valid, reason code 133; look at client_id in [mqtt]",
        ),
        (
            [b"\x20\x03\x00\x00\x00", b"\xe0\x02\x8e\x00"],
            "Session taken over, reason code 142; another client has the same client_id; each "
            "daemon needs its own",
        ),
    ],
)
def test_the_reason_codes_of_a_broker_are_told_with_the_key_to_look_at(
    box, until, answers: list[bytes], why: str
):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            with contextlib.suppress(OSError):
                while True:
                    line, _ = server.accept()
                    with line:
                        for answer in answers:
                            line.recv(4096)
                            line.sendall(answer)

        threading.Thread(target=refuse, daemon=True).start()
        box.tables["mqtt"] = {"host": "127.0.0.1", "port": server.getsockname()[1]}
        box.start()
        said = until(lambda: box.said("mqtt-lost"), "told")
        assert said[0]["why"] == why
        box.drop("a.txt")
        box.sealed("a.txt")
        assert box.end() == 0


def test_a_broker_that_says_nothing_to_a_version_is_told_with_the_key_to_set(box, until):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:  # takes connections, never answers
        box.tables["mqtt"] = {"host": "127.0.0.1", "port": server.getsockname()[1]}
        box.start()
        said = until(lambda: box.said("mqtt-lost"), "told")
        assert 'may be silent: then set protocol = "3.1.1" in [mqtt]' in said[0]["why"]
        assert box.end() == 0


def test_another_client_of_the_same_name_is_thought_of(box, broker, ear, until):
    """Brokers of 3.1.1, and mosquitto 2.0.11 with 5, hang up without a word; newer ones say why."""
    box.start()
    until(lambda: ear.status == ["online"], "online")
    other = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="archived")
    other.username_pw_set("archived", "secret")
    other.connect("127.0.0.1", broker.port)
    other.loop_start()
    try:
        said = until(lambda: box.said("mqtt-lost"), "told")
    finally:
        other.disconnect()
        other.loop_stop()
    assert "another client has the same client_id" in said[0]["why"]


class Ear2(Ear):
    """A newcomer: hears what is retained."""

    def __init__(self, port: int) -> None:
        self.status = []
        self.heads = []
        self._five = False
        self._prefix = "archived"
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self.client.username_pw_set("archived", "secret")
        self.client.on_connect = lambda c, *_: c.subscribe("archived/+", qos=1)
        self.client.on_message = self._heard
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()


GATE_THAT_REFUSES = """
from archived.api import *


class Options(StageConfig):
    pass


class Picky(Stage[Options]):
    name = "picky"
    version = "1"

    def run(self, document, context):
        raise Refuse("not this one", code="not-this-one", hint="another")


@hookimpl
def register_stages(register):
    register(Picky)
"""
