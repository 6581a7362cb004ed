"""The order store on PostgreSQL, through asyncpg and numbered SQL files (`sql/`)."""
