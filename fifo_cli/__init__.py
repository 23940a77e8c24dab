"""fifo-cli: a strictly ordered DynamoDB -> SQS FIFO -> HTTP API pipeline, provisioned and operated."""

__version__ = "0.1.0"
