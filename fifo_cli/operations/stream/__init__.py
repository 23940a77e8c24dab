"""Stream: the records of the table's stream, and what became of each.

``reader`` reads the records of a time window, each once, those of an item in order. ``shards`` knows which
shard follows which. ``record_filter`` chooses records. ``message_rules`` says which become messages, by the
enqueuer's own code; ``item_keys`` reads and writes the keys of items.

``replay`` sends records again through the enqueuer's own code. ``replay_records`` reads them from the stream
into ``replay_store`` on disk; with ``--failed``, ``failed_batches`` reads those that Lambda gave up.
``replay_transfer`` moves them with the transfer engine: the store is the source, main and DLQ are the target.

``audit`` proves for every record, and ``trace`` for one item, where it is. ``evidence`` reads what they judge
by: the stream, the functions' logs, the history, the queues, and what feeds the enqueuer. ``record_state``
says for both where a record is, and why; ``audit_store`` keeps on disk what an audit found, and places those
that were delivered or seen in a queue.
"""
