"""Third parties: what they know and did, whatever the lab's own processes believe."""
