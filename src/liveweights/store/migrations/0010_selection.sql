-- Where a completion might be withheld: the log-probability with which it was shown, or was not.
alter table generations add column selection real;
