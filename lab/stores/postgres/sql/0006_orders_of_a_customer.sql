-- Addition: the orders of a customer are found without looking at all of them.

-- If not exists: where there are very many orders it was made by hand before, concurrently.
create index if not exists orders_of_customer on orders (customer_id, created_us, id);
