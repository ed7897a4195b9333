-- Sums of what answers cost mean nothing where they are in several currencies.
create view asked_prices as
select since, model, tenant, plan, currency from prices where side = 'sale';
comment on view asked_prices is
'In which currency answers are charged from a time on, of which model, tenant and plan; null: of any. What they are charged is in the view charges.';
