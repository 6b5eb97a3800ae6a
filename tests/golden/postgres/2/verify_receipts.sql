select r.year, count(*), min(r.place), max(r.place), max(s.last)
  from auditshield_receipts r join auditshield_series s on s.year = r.year
 group by r.year
 order by r.year
