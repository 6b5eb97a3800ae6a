"""Starts the world and holds the daemon to docs/openapi.yaml with schemathesis: every check, both listeners."""

import os
import pathlib
import subprocess
import sys
import tempfile

from world import ADMIN_TOKEN, SITE_ID, World, ask

HERE = pathlib.Path(__file__).parent
SPEC = HERE.parent.parent / "docs/openapi.yaml"


def settings(order, token, grant):
    """schemathesis.toml: real orders and links for the parameters, and the few exceptions with their reason."""
    return f"""
hooks = "hooks"
[parameters]
"path.order_id" = "{order}"
"path.slug" = "audit-kit"
"path.tier" = "standard"

# The waiting page is shown whatever is brought along: nothing of it is believed.
[[operations]]
include-operation-id = ["returnPage", "returnPagePosted"]
checks.negative_data_rejection.expected-statuses = [200]

# A key that comes again with another purchase is refused (422), and a document cannot say "another".
[[operations]]
include-operation-id = "buy"
checks.positive_data_acceptance.expected-statuses = ["2xx", "3xx", 422]

# An order opens for the browser that bought; its cookie is no part of the document. The catalogue has no picture.
[[operations]]
include-operation-id = [
    "orderPage", "orderLink", "receipt", "orderPay", "orderDownload", "orderSendAgain", "orderReaddress", "picture",
]
checks.positive_data_acceptance.expected-statuses = ["2xx", "3xx", 403, 404]

# A period that ends before it begins is well-formed, as is a text that is no export; a document cannot say either.
[[operations]]
include-operation-id = ["exportCsv", "exportJsonLines", "settle"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "3xx", 400]

# Confirmed is what repeats the address; a document cannot say "the same", nor that the buyer's own name is taken.
[[operations]]
include-operation-id = ["exportPersonalData", "erasePersonalData"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "3xx", 400]

# What a form must hold depends on the act in its address: a reason, an e-mail. A document cannot say so.
[[operations]]
include-operation-id = ["act", "actFromPage"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "3xx", 400, 404, 409]
# An act reads the fields that are its own: to verify, whatever stands in the field for an e-mail is nothing.
checks.negative_data_rejection.expected-statuses = [200, 303, 400, 401, 403, 404, 405, 406, 409, 415, 422, 429]

[[operations]]
include-operation-id = ["buyPreflight", "paymentStatusPreflight"]
parameters = {{ "header.Origin" = "https://shop.example" }}

[[operations]]
include-operation-id = ["downloadPage", "downloadStart"]
parameters = {{ "path.token" = "{token}" }}

[[operations]]
include-operation-id = "downloadFile"
parameters = {{ "path.token" = "{grant}" }}
# A range outside the file is well-formed and has an answer of its own.
checks.positive_data_acceptance.expected-statuses = ["2xx", "3xx", 416]
"""


def schemathesis(world, listener, base, config, examples, seed, *more):
    print(f"== schemathesis, {listener} listener", flush=True)
    command = [
        pathlib.Path(sys.executable).parent / "schemathesis", "--config-file", config, "run", SPEC, "--url", base,
        "--include-tag", listener, "--checks", "all", "--max-examples", examples, "--seed", seed,
        "--generation-database", "none", "--continue-on-failure", "--no-color",
        "--request-timeout", "20", "--suppress-health-check", "all", *more,
    ]
    environment = {**os.environ, "PYTHONPATH": str(HERE), "SCHEMATHESIS_HOOKS": "hooks", "NO_PROXY": "*",
                   "HOSTILE_SITE_ID": SITE_ID}
    return subprocess.run([str(part) for part in command], env=environment, cwd=world.folder).returncode


def main():
    binary, examples, seed = sys.argv[1:4]
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        world = World(binary, folder)
        try:
            order, token = world.sell()
            config = pathlib.Path(folder) / "schemathesis.toml"
            config.write_text(settings(order, token, world.grant(token)))
            if schemathesis(world, "public", world.shop, config, examples, seed):
                failures.append("public")
            bearer = ("--header", f"Authorization: Bearer {ADMIN_TOKEN}")
            if schemathesis(world, "admin", world.admin, config, examples, seed, *bearer):
                failures.append("admin")
            failures += [f"{name} ended" for name in world.dead()]
            for base in (world.shop, world.admin):
                if not world.dead() and ask("GET", base + "/readyz")[0] != 200:
                    failures.append(f"{base} is not ready")
            if "panicked: " in world.log("daemon"):
                failures.append("a panic in the daemon")
        finally:
            world.end()
            if failures:
                print("\n".join(world.log("daemon").splitlines()[-20:]))
    if failures:
        raise SystemExit(f"hostile: failed: {', '.join(failures)}")
    print("hostile: both listeners keep docs/openapi.yaml")


main()
