-- Addition: the orders of a customer are found without looking at all of them.

create index orders_of_customer on orders (customer_id, created_us, id);
