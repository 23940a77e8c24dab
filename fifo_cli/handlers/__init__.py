"""What Lambda runs: the enqueuer and the worker.

This folder is copied into the functions' zips as it is. It imports the standard library, boto3 (which
Lambda's runtime has), httpx and jmespath, and nothing else of fifo-cli; ``drain`` and ``replay`` run it
in the operator's process.
"""
