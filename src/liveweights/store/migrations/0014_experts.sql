-- Of a mixture of experts: which of them served each token of the answer, packed (see
-- engines/experts.py). Hardly compressible, so Postgres need not try.
alter table generations add column experts bytea;
alter table generations alter column experts set storage external;
