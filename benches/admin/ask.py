"""Asks two dashboards for the same pages in turn and compares how long they took: few orders, many orders, token."""

import http.client
import json
import re
import statistics
import sys
import time

ROUNDS = 40
GOAL_MS = 100


class Dashboard:
    """One admin listener, over one connection."""

    def __init__(self, address, token):
        self.connection = http.client.HTTPConnection(address, timeout=60)
        self.token = token
        page = json.loads(self.ask("GET", "/api/orders?status=PAID", None)[1])
        # The oldest of the page: its address and number are looked for, so that no index is warm by being last.
        order = page["orders"][-1]
        self.pages = {
            "first page": ("GET", "/admin/", None),
            "first list": ("GET", "/admin/orders/", None),
            "search by e-mail": ("POST", "/admin/orders/", f"q={order['email'].replace('@', '%40')}"),
            "search by transaction": ("POST", "/admin/orders/", f"q={order['provider_tx_id']}"),
            "an order's page": ("GET", f"/admin/orders/{order['order_id']}/", None),
            "list, next page": ("GET", f"/admin/orders/?status=PAID&cursor={order['order_id']}", None),
        }
        self.order = order["order_id"]
        told = re.search(r"Reçu n°</dt><dd>(20\d\d-\d{6,})<", self.ask("GET", f"/admin/orders/{self.order}/", None)[1])
        if not told:
            sys.exit("the order's page does not tell its receipt's number")
        self.pages["search by receipt"] = ("POST", "/admin/orders/", f"q={told[1]}")

    def ask(self, method, path, body):
        """The status and the text of an answer."""
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "text/html" if path[1:6] == "admin" else "*/*"}
        if body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200:
            sys.exit(f"{method} {path}: {answer.status}")
        return answer.status, text

    def time(self, name):
        """How long a page takes, in milliseconds."""
        method, path, body = self.pages[name]
        begun = time.perf_counter()
        _, text = self.ask(method, path, body)
        took = (time.perf_counter() - begun) * 1000
        if ("search" in name or "order's" in name) and self.order not in text:
            sys.exit(f"{name}: the order is not there")
        return took


def main():
    """Prints one line for each page; 1 if a median misses the goal."""
    few, many, token = sys.argv[1:]
    few, many = Dashboard(few, token), Dashboard(many, token)
    missed = False
    print(f"{'':24}{'few':>10}{'many':>10}{'ratio':>8}{'worst':>10}   goal {GOAL_MS} ms")
    for name in few.pages:
        for board in (few, many):
            board.time(name)
        # In turn, so that whatever else the machine does strikes both.
        pairs = [(few.time(name), many.time(name)) for _ in range(ROUNDS)]
        small, large = (statistics.median(side) for side in zip(*pairs))
        worst = max(pair[1] for pair in pairs)
        missed |= large >= GOAL_MS
        print(f"{name:24}{small:8.1f}ms{large:8.1f}ms{large / small:8.2f}{worst:8.1f}ms")
    return int(missed)


sys.exit(main())
