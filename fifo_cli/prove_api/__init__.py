"""The API that ``prove`` delivers to: its protocol (api.py), and the Lambda function with it (function.py).

The function's zip holds this folder alone, so it imports nothing else of ours. The protocol as ``prove``
speaks it is in model/receiver_protocol.py; docs/prove.md describes it.
"""
