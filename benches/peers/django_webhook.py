"""The webhook as a Django site would have it: signature, one row per notification, durable, 200.

gunicorn runs it behind nginx (see benches/daemon/peers.rs). SQLite writes ahead and syncs every commit, connections are kept, no
middleware runs: this is Django at its quickest, not at its usual.
"""

import hashlib
import hmac
import os

import django
from django.conf import settings
from django.http import HttpResponse

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["PEER_DATABASE"],
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                "timeout": 30,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
            },
        }
    },
    ROOT_URLCONF=__name__,
    SECRET_KEY="unused",
)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import connection, models  # noqa: E402
from django.urls import path  # noqa: E402

SECRET = os.environ["PEER_SECRET"].encode()
FIELDS = (
    "cpm_site_id cpm_trans_id cpm_trans_date cpm_amount cpm_currency signature payment_method cel_phone_num "
    "cpm_phone_prefixe cpm_language cpm_version cpm_payment_config cpm_page_action cpm_custom cpm_designation "
    "cpm_error_message"
).split()


class Notice(models.Model):
    """A notification. Its signature names it, so a repeated one is stored once."""

    digest = models.CharField(max_length=64, primary_key=True)
    order = models.CharField(max_length=30)
    body = models.TextField()
    received = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "peer"


def callback(request):
    if request.method != "POST":
        return HttpResponse("OK")
    body = request.body.decode()
    mac = hmac.new(SECRET, digestmod=hashlib.sha256)
    for name in FIELDS:
        mac.update(request.POST.get(name, "").encode())
    digest = mac.hexdigest()
    if not hmac.compare_digest(digest, request.headers.get("x-token", "")):
        return HttpResponse(status=400)
    notice = Notice(digest=digest, order=request.POST["cpm_trans_id"], body=body)
    Notice.objects.bulk_create([notice], ignore_conflicts=True)
    return HttpResponse("OK")


urlpatterns = [path("payment/callback", callback)]
if Notice._meta.db_table not in connection.introspection.table_names():
    with connection.schema_editor() as editor:
        editor.create_model(Notice)
# Workers are forked later, and must not share a connection.
connection.close()
application = get_wsgi_application()
