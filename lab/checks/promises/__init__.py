"""The promises, one file a family: each a fold or a judge of cases, and its sentence."""
