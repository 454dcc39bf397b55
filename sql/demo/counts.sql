select (select count(*) from products) as products,
       (select max(price) from products) as dearest,
       (select count(*) from customers where email !~ '^visitor') as customers,
       (select count(*) from customers where email ~ '^visitor') as visitors,
       (select count(*) from orders join products on products.id = product_id) as orders
