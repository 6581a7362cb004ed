-- Addition: what is old is found by its age, and facts can be left out.

create index outbox_published on outbox (published_us) where published_us is not null;
create index outcomes_done on outcomes (at_us) where not is_dead;
create index order_versions_age on order_versions (at_us);
create index http_keys_age on http_keys (at_us);

create function leave_out() returns trigger language plpgsql as $$
begin
    return null;
end
$$;

-- Only a verdict reads facts. A session that works for none says so when it begins.
create trigger facts_left_out before insert on facts for each row
when (current_setting('lab.facts', true) = 'off') execute function leave_out();
