-- Who goes first where not all may enter: the smaller the rank, the sooner; nobody, where that is by lot.
create temporary table audience_ranks (customer_id text not null, rank float8 not null) on commit drop
