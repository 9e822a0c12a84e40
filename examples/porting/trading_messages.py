"""Every trading message of python-kraken-sdk's manual page, with ``send_message``.

The SDK's ``send_message`` returns nothing, and the replies come to ``on_message``; here it returns the
reply, and raises what the exchange refused.
"""

import os

from kraken_sync import OrderRejected, SpotWSClient


def main():
    client_auth = SpotWSClient(key=os.environ["KRAKEN_API_KEY"], secret=os.environ["KRAKEN_API_SECRET"])
    client_auth.start()

    placed = client_auth.send_message(
        message={
            "method": "add_order",
            "params": {
                "limit_price": 1234.5,  # the manual has 1234.56, which is not on BTC/USD's grid today
                "order_type": "limit",
                "order_userref": 123456789,
                "order_qty": 1.0,
                "side": "buy",
                "symbol": "BTC/USD",
            },
        }
    )
    print(placed)

    print(
        client_auth.send_message(
            message={
                "method": "batch_add",
                "params": {
                    "orders": [
                        {
                            "limit_price": 1000.2,
                            "order_qty": 1,
                            "order_type": "limit",
                            "order_userref": 123456789,
                            "side": "buy",
                        },
                        {
                            "limit_price": 500000.2,
                            "order_qty": 2.12345,
                            "order_type": "limit",
                            "order_userref": 212345679,
                            "side": "sell",
                            "stp_type": "cancel_both",
                        },
                    ],
                    "symbol": "BTC/USD",
                    "validate": True,
                },
            }
        )
    )

    edited = client_auth.send_message(
        message={
            "method": "edit_order",
            "params": {
                "order_id": placed["result"]["order_id"],
                "order_qty": 2.5,
                "symbol": "BTC/USD",
            },
        }
    )
    print(edited)

    print(
        client_auth.send_message(
            message={
                "method": "amend_order",
                "params": {"order_id": edited["result"]["order_id"], "limit_price": 1230.0},
            }
        )
    )

    try:
        client_auth.send_message(
            message={
                "method": "cancel_order",
                "params": {"order_id": ["ORDER-ID123-456789", "ORDER-ID123-987654"]},
            }
        )
    except OrderRejected as error:
        print(error)

    print(
        client_auth.send_message(
            message={
                "method": "batch_cancel",
                "params": {"orders": ["123456789", "212345679", "ORDER-ID123-4567890"]},
            }
        )
    )

    print(
        client_auth.send_message(
            message={
                "method": "cancel_all_orders_after",
                "params": {"timeout": 60},
            }
        )
    )

    print(client_auth.send_message(message={"method": "cancel_all"}))

    print(
        client_auth.send_message(
            message={
                "method": "subscribe",
                "params": {"channel": "book", "snapshot": False, "symbol": ["BTC/USD"]},
            }
        )
    )
    client_auth.unsubscribe(params={"channel": "book", "symbol": ["BTC/USD"]})
    client_auth.close()


if __name__ == "__main__":
    main()
