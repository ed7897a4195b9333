-- What a model thought before it answered, where a server says so apart from the answer.
alter table generations add column reasoning text not null default '';
