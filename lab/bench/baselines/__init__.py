"""What the lab is measured against: nothing of it but, once, its virtual loop."""
