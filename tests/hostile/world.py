"""The daemon in front of the simulated CinetPay, with one order sold, so that every address leads somewhere."""

import email
import email.policy
import hashlib
import hmac
import json
import os
import pathlib
import re
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

ADMIN_TOKEN = "hostile-admin-token-0123456789"
WEBHOOK_SECRET = "hostile-webhook-secret-0123456789"
SITE_ID = "445160"
# How long anything may take to happen, in seconds.
PATIENCE = 60
CATALOG = (pathlib.Path(__file__).resolve().parent.parent / "catalog.toml").read_text()
FIELDS = (
    "cpm_site_id cpm_trans_id cpm_trans_date cpm_amount cpm_currency signature payment_method cel_phone_num "
    "cpm_phone_prefixe cpm_language cpm_version cpm_payment_config cpm_page_action cpm_custom cpm_designation "
    "cpm_error_message"
).split()


def x_token(form: bytes) -> str:
    """The token CinetPay would send with this form."""
    # Latin-1 keeps bytes as they are: the signature covers bytes, not text.
    fields = dict(urllib.parse.parse_qsl(form.decode("latin-1"), keep_blank_values=True, encoding="latin-1"))
    signed = "".join(fields.get(name, "") for name in FIELDS).encode("latin-1")
    return hmac.new(WEBHOOK_SECRET.encode(), signed, hashlib.sha256).hexdigest()


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect)


def ask(method, url, body=None, **headers):
    """Status, headers, body; no redirect is followed."""
    data = body.encode() if isinstance(body, str) else body
    request = urllib.request.Request(url, data, {k.replace("_", "-"): v for k, v in headers.items()}, method=method)
    try:
        answer = OPENER.open(request, timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        answer = error
    return answer.status, answer.headers, answer.read()


def until(what, found):
    """Asks `found` again until it says something."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if answer := found():
                return answer
        except OSError:
            pass
        time.sleep(0.05)
    raise SystemExit(f"hostile: {what} did not happen")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class World:
    def __init__(self, binary, folder):
        self.folder = pathlib.Path(folder)
        self.children = []
        (self.folder / "kit.bin").write_bytes(b"The kit itself, byte for byte.\n")
        (self.folder / "catalog.toml").write_text(CATALOG)
        provider, public, admin = free_port(), free_port(), free_port()
        self.shop, self.admin = f"http://127.0.0.1:{public}", f"http://127.0.0.1:{admin}"
        self.provider = f"http://127.0.0.1:{provider}"
        self.settings = {
            "CINETPAY_ENV": "sandbox",
            "CINETPAY_API_URL": self.provider,
            "CINETPAY_API_KEY": "hostile-api-key",
            "CINETPAY_SITE_ID": SITE_ID,
            "CINETPAY_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "AUDITSHIELD_SECRET_KEY": "hostile-secret-key-0123456789abcdef",
            "AUDITSHIELD_ADMIN__TOKEN": ADMIN_TOKEN,
            "AUDITSHIELD_ADMIN__LISTEN": f"127.0.0.1:{admin}",
            "AUDITSHIELD_SERVER__LISTEN": f"127.0.0.1:{public}",
            "AUDITSHIELD_SERVER__ALLOWED_ORIGINS": "https://shop.example",
            "AUDITSHIELD_STORE__URL": f"sled:{self.folder / 'store'}",
            "AUDITSHIELD_CATALOG__PATH": str(self.folder / "catalog.toml"),
            "AUDITSHIELD_MAIL__URL": f"file:{self.folder / 'mail'}",
            "AUDITSHIELD_DOWNLOAD__MAX_DOWNLOADS": "1000",
            "AUDITSHIELD_LOG": "warn",
        }
        # One client asks everything here; what a limit answers is tested in tests/it.
        for rate in "buy status download recover login bad_signature".split():
            self.settings[f"AUDITSHIELD_LIMITS__{rate.upper()}_PER_MINUTE"] = "0"
        self._child(
            [binary, "simulator", "--listen", f"127.0.0.1:{provider}", "--api-key", "hostile-api-key",
             "--site-id", SITE_ID, "--secret", WEBHOOK_SECRET, "--auto-approve", "200ms"], "simulator")
        until("the simulator's start", lambda: ask("GET", self.provider)[0])
        self._child([binary, "serve"], "daemon")
        until("the daemon's start", lambda: ask("GET", self.shop + "/readyz")[0] == 200)

    def _child(self, command, name):
        said = open(self.folder / f"{name}.log", "ab")
        environment = {"PATH": os.environ["PATH"], **self.settings}
        child = subprocess.Popen(command, env=environment, cwd=self.folder, stdout=said, stderr=said)
        self.children.append((name, child))

    def sell(self):
        """An order bought, paid and delivered: its number and the token of its link."""
        status, _, body = ask("POST", f"{self.shop}/buy/audit-kit/standard/", json.dumps({"email": "awa@example.ci"}),
                              content_type="application/json", accept="application/json")
        assert status == 201, (status, body)
        bill = json.loads(body)
        ask("GET", bill["payment_url"])
        order = bill["order_id"]
        self.notify(order)
        until("the delivery", lambda: json.loads(ask("GET", f"{self.shop}/payment/status/{order}/")[2])["delivered"])
        for path in (self.folder / "mail").rglob("*"):
            if path.is_file() and order in (text := self.text_of(path)):
                return order, re.search(r"/download/([^/\s]+)/", text).group(1)
        raise SystemExit("hostile: no mail with a link")

    def notify(self, order):
        form = urllib.parse.urlencode({"cpm_site_id": SITE_ID, "cpm_trans_id": order}).encode()
        status, _, body = ask("POST", f"{self.shop}/payment/callback/", form, x_token=x_token(form),
                              content_type="application/x-www-form-urlencoded")
        assert status == 200, (status, body)

    @staticmethod
    def text_of(path):
        mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        part = mail.get_body(preferencelist=("plain",))
        return part.get_content() if part else ""

    def grant(self, token):
        """Starts a download: the short-lived token of the file."""
        status, headers, _ = ask("POST", f"{self.shop}/download/{token}/", b"")
        assert status == 303, status
        return headers["Location"].split("/")[3]

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def dead(self):
        """The children that ended by themselves."""
        return [name for name, child in self.children if child.poll() is not None]

    def end(self):
        for _, child in reversed(self.children):
            child.terminate()
        for _, child in self.children:
            child.wait(PATIENCE)
