"""Stream: the records of the table's stream, and what became of each.

``reader`` reads every record of a window once, an item's records in order; ``shards`` knows which shard came
of which. ``record_filter`` chooses records. ``message_rules`` says which become messages, by the enqueuer's
own code; ``item_keys`` reads and writes the keys of items.

``replay`` sends records again through the enqueuer's own code: ``replay_records`` reads them into
``replay_store`` on disk, ``replay_transfer`` makes of the store a source and of main a target of the
transfer engine, and ``failed_batches`` begins with what Lambda gave up.

``audit`` proves for every record, and ``trace`` for one item, where it is: from the stream, the functions'
logs and the queues (``evidence``). ``audit_store`` keeps what was found on disk; ``record_state`` says where
a record is, and why, for both.
"""
