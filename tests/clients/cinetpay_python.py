"""An init and a check through the PyPI client `cinetpay` 0.0.1, against the simulator's address given as argument.

Exits 0 only if both answers are right. The client prints what it sends; that is its own doing.
"""

import sys
import uuid

from cinetpay import Channels, Client, Config, Credential, Currencies, Customer, Languages, Order

API_KEY = "simulator-api-key"
SITE_ID = "445160"


def main(address: str) -> None:
    client = Client(
        Config(
            host=address,
            credentials=Credential(apikey=API_KEY, site_id=SITE_ID),
            currency=Currencies.XOF,
            language=Languages.FR,
            channels=Channels.ALL,
            lock_phone_number=False,
            raise_on_error=True,
        )
    )
    transaction_id = uuid.uuid4().hex[:20].upper()
    customer = Customer(
        customer_id="1", customer_name="Kouassi", customer_surname="Awa", customer_phone_number="0707070700"
    )
    order = Order(
        id=transaction_id,
        amount=15000,
        currency="XOF",
        customer=customer,
        notify_url="http://127.0.0.1:9/notify",
        return_url="http://127.0.0.1:9/return",
        description="Kit audit",
    )

    opened = client.initialize_transaction(order).json
    expect(opened["code"] == "201" and opened["message"] == "CREATED", opened)
    token = opened["data"]["payment_token"]
    expect(opened["data"]["payment_url"] == f"{address.rstrip('/')}/payment/{token}", opened)

    by_id = client.get_transaction(_id=transaction_id).json
    expect(by_id["code"] == "662" and by_id["data"]["status"] == "PENDING", by_id)
    expect((by_id["data"]["amount"], by_id["data"]["currency"]) == ("15000", "XOF"), by_id)


def expect(right: bool, answer: object) -> None:
    if not right:
        sys.exit(f"unexpected answer: {answer}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: cinetpay_python.py http://127.0.0.1:<port>")
    main(sys.argv[1])
    print("cinetpay 0.0.1: init and check are right")
