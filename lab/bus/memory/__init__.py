"""The log in memory: topics and consumer groups with the failure modes of a Kafka broker."""
