-- A price that the settings file or a provider's list has no more holds no longer; until now it
-- became a price of 0, which held before less particular ones. Rows that are such a 0 stay what they
-- were charged by; the next start withdraws those whose model is not in the file or list.
alter table prices
    add column withdrawn boolean not null default false,
    add constraint withdrawn_by_its_source check (not withdrawn or source <> 'operator');
comment on column prices.withdrawn is
'From then on its source says nothing of the model: what else there is holds.';
