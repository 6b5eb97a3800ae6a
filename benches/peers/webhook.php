<?php
// The webhook as a PHP shop would have it: signature, one row per notification, durable, 200.
// SQLite writes ahead and syncs every commit; the connection is kept between requests.

const FIELDS = [
    'cpm_site_id', 'cpm_trans_id', 'cpm_trans_date', 'cpm_amount', 'cpm_currency', 'signature', 'payment_method',
    'cel_phone_num', 'cpm_phone_prefixe', 'cpm_language', 'cpm_version', 'cpm_payment_config', 'cpm_page_action',
    'cpm_custom', 'cpm_designation', 'cpm_error_message',
];

function answer(int $status, string $text): never
{
    http_response_code($status);
    header('Content-Type: text/plain');
    header('Content-Length: ' . strlen($text));
    echo $text;
    exit;
}

if ($_SERVER['REQUEST_METHOD'] !== 'POST') {
    answer(200, 'OK');
}
$signed = '';
foreach (FIELDS as $name) {
    $signed .= $_POST[$name] ?? '';
}
$digest = hash_hmac('sha256', $signed, $_SERVER['PEER_SECRET']);
if (!hash_equals($digest, $_SERVER['HTTP_X_TOKEN'] ?? '')) {
    answer(400, 'bad signature');
}
$store = new PDO('sqlite:' . $_SERVER['PEER_DATABASE'], null, null, [
    PDO::ATTR_PERSISTENT => true,
    PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
    PDO::ATTR_TIMEOUT => 30,
]);
// Of this connection, so set anew each time; the table is made before the first request.
$store->exec('PRAGMA synchronous=FULL');
$insert = $store->prepare('INSERT OR IGNORE INTO notice (digest, order_id, body, received) VALUES (?, ?, ?, ?)');
$insert->execute([$digest, $_POST['cpm_trans_id'], file_get_contents('php://input'), time()]);
answer(200, 'OK');
