"""The log on a real Kafka, through aiokafka: publishing, consuming, topics, and its facts."""
