"""The baselines: code without the lab, but for its virtual loop in one of them."""
