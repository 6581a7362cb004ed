"""One process of the lab, the same in every world: its chain, its role, its life."""
