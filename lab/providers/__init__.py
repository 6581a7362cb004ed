"""Third parties: their knowledge and their deeds, which the lab's own processes cannot see."""
