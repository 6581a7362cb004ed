"""The bus: a log to publish to, and the loop that delivers from it. No pattern lives here."""
