select exists (select 1 from auditshield_orders) or exists (select 1 from auditshield_lines)
    or exists (select 1 from auditshield_receipts) or exists (select 1 from auditshield_series)
    or exists (select 1 from auditshield_keys) or exists (select 1 from auditshield_order_keys where slot > 0)
