-- Which API key an answer was asked for with: the first digits of a digest, empty without keys.
alter table generations add column key text not null default '';

-- What a cycle read and left out, because the votes of whoever cast it stood apart from all others'.
alter table cycle_rows add column left_out boolean not null default false;
