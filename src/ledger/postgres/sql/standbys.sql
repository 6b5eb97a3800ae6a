-- A copy that is being made follows nothing yet.
select application_name, state, sync_state from pg_stat_replication
 where state is null or state <> 'backup'
 order by application_name, pid
 limit $1
