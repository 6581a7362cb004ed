"""The log in memory: topics, consumer groups and their failure modes, as a Kafka broker has them."""
