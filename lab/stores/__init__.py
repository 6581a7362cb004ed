"""Where durable things live: the order store with its outbox, and the dedupe store."""
