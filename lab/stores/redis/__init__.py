"""The dedupe store on Redis: claims and completions as scripts (`lua/`)."""
