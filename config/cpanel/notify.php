<?php
// AuditShield sur un hébergement cPanel : cette page est l'adresse de notification déclarée chez CinetPay.
// AuditShield on a cPanel account: this page is the notify address declared at CinetPay.
//
// It hands each notification to the daemon. Where the daemon is down it writes the raw request to the spool folder, syncs
// it to the disk and answers 200: the daemon reads the folder at its start and while it runs, and verifies every one as if
// it had come by itself. No secret stands here: the signature is the daemon's to judge.
//
// Needs PHP 8.1 or later (fsync). Both places can be set in .htaccess with SetEnv:
//   AUDITSHIELD_UPSTREAM  where the daemon listens: http://127.0.0.1:8000/payment/callback/, or unix:/home/you/auditshield/public.sock
//   AUDITSHIELD_SPOOL     the spool folder, outside the web root; the same as AUDITSHIELD_SPOOL__FOLDER of the daemon
declare(strict_types=1);

const BODY_BYTES_MAX = 65536;
const SPOOLED_MAX = 10000;
const UPSTREAM_SECONDS_MAX = 5;

const REDIRECTS_MAX = 5;

/**
 * What SetEnv says. Each internal redirect of Apache (a rewritten address, PHP run as a CGI) puts REDIRECT_ before the name:
 * taken for "not set", the notification would go to the default's folder, where no daemon looks.
 */
function setting(string $name, string $default): string
{
    for ($redirects = 0; $redirects <= REDIRECTS_MAX; $redirects++) {
        $full = str_repeat('REDIRECT_', $redirects) . $name;
        $value = $_SERVER[$full] ?? getenv($full);
        if (is_string($value) && $value !== '') {
            return $value;
        }
    }
    return $default;
}

$upstream = setting('AUDITSHIELD_UPSTREAM', 'http://127.0.0.1:8000/payment/callback/');
$spool = setting('AUDITSHIELD_SPOOL', dirname(__DIR__) . '/auditshield/spool');

function answer(int $status, string $text): never
{
    http_response_code($status);
    header('Content-Type: text/plain; charset=utf-8');
    header('Cache-Control: no-store');
    echo $text;
    exit;
}

/** The daemon's status and body; null where it does not answer, or cannot take it now. */
function forward(string $upstream, string $body, string $token): ?array
{
    $headers = [
        'Content-Type: ' . ($_SERVER['CONTENT_TYPE'] ?? 'application/x-www-form-urlencoded'),
        'X-Forwarded-For: ' . ($_SERVER['REMOTE_ADDR'] ?? ''),
        'Connection: close',
    ];
    if ($token !== '') {
        $headers[] = 'x-token: ' . $token;
    }
    $id = $_SERVER['HTTP_X_REQUEST_ID'] ?? '';
    if (preg_match('~^[A-Za-z0-9._-]{1,64}$~D', $id)) {
        $headers[] = 'X-Request-Id: ' . $id;
    }
    [$first, $text] = str_starts_with($upstream, 'unix:')
        ? over_socket(substr($upstream, strlen('unix:')), $headers, $body)
        : over_http($upstream, $headers, $body);
    if (!preg_match('~^HTTP/\S+ (\d{3})~', $first, $found)) {
        return null;
    }
    $status = (int) $found[1];
    // 5xx and 429 are "not now": a later reading of the spool is as good as a repeat by CinetPay.
    return $status >= 500 || $status === 429 ? null : [$status, $text];
}

/** The answer's first line and its body; two empty texts where there is none. */
function over_http(string $upstream, array $headers, string $body): array
{
    $context = stream_context_create(['http' => [
        'method' => 'POST',
        'header' => $headers,
        'content' => $body,
        'timeout' => UPSTREAM_SECONDS_MAX,
        'ignore_errors' => true,
        'follow_location' => 0,
    ]]);
    $text = @file_get_contents($upstream, false, $context, 0, BODY_BYTES_MAX);
    return $text === false ? ['', ''] : [$http_response_header[0] ?? '', $text];
}

/** The same over a unix socket, which PHP's http:// cannot reach. HTTP/1.0: the answer ends with the connection. */
function over_socket(string $path, array $headers, string $body): array
{
    $line = @stream_socket_client('unix://' . $path, $code, $why, UPSTREAM_SECONDS_MAX);
    if ($line === false) {
        return ['', ''];
    }
    stream_set_timeout($line, UPSTREAM_SECONDS_MAX);
    $headers[] = 'Host: localhost';
    $headers[] = 'Content-Length: ' . strlen($body);
    $text = "POST /payment/callback/ HTTP/1.0\r\n" . implode("\r\n", $headers) . "\r\n\r\n" . $body;
    $sent = 0;
    while ($sent < strlen($text)) {
        $more = @fwrite($line, substr($text, $sent));
        if ($more === false || $more === 0) {
            break;
        }
        $sent += $more;
    }
    // Whatever became of the sending, an answer counts: it was heard.
    $answer = (string) stream_get_contents($line, BODY_BYTES_MAX);
    $cut = stream_get_meta_data($line)['timed_out'];
    fclose($line);
    [$head, $rest] = explode("\r\n\r\n", $answer, 2) + ['', null];
    return $cut || $rest === null ? ['', ''] : [strtok($head, "\r\n"), $rest];
}

/** Durable once this returns true: the file synced, then its name. */
function keep(string $spool, string $body, string $token): bool
{
    if (!function_exists('fsync')) {
        error_log('auditshield notify.php: PHP 8.1 or later is needed');
        return false;
    }
    if (!is_dir($spool) && !@mkdir($spool, 0700, true)) {
        error_log('auditshield notify.php: the spool folder cannot be made');
        return false;
    }
    if (count(scandir($spool) ?: []) > SPOOLED_MAX) {
        error_log('auditshield notify.php: the spool folder is full');
        return false;
    }
    umask(0077);
    $name = $spool . '/' . gmdate('Ymd\THis') . '-' . bin2hex(random_bytes(12));
    $text = json_encode([
        'v' => 1,
        'received_at' => gmdate('Y-m-d\TH:i:s\Z'),
        'x_token' => $token,
        'body' => base64_encode($body),
    ]);
    $file = @fopen($name . '.new', 'x');
    if ($file === false) {
        error_log('auditshield notify.php: the spool folder cannot be written');
        return false;
    }
    $written = fwrite($file, $text) === strlen($text) && fflush($file) && fsync($file);
    fclose($file);
    if (!$written || !rename($name . '.new', $name . '.json')) {
        @unlink($name . '.new');
        error_log('auditshield notify.php: a notification could not be kept');
        return false;
    }
    $folder = fopen($spool, 'r');
    return $folder !== false && fsync($folder);
}

$method = $_SERVER['REQUEST_METHOD'] ?? 'GET';
if ($method === 'GET' || $method === 'HEAD') {
    // CinetPay asks whether the address is there before it posts.
    answer(200, 'OK');
}
if ($method !== 'POST') {
    header('Allow: GET, HEAD, POST');
    answer(405, 'Method Not Allowed');
}
$body = file_get_contents('php://input', false, null, 0, BODY_BYTES_MAX + 1);
if ($body === false || strlen($body) > BODY_BYTES_MAX) {
    answer(413, 'Too Large');
}
$token = $_SERVER['HTTP_X_TOKEN'] ?? '';
$answered = forward($upstream, $body, $token);
if ($answered !== null) {
    answer(...$answered);
}
// What cannot be a signature never fills the disk.
if (!preg_match('~^[0-9a-fA-F]{64}$~D', $token)) {
    answer(400, 'x-token');
}
keep($spool, $body, $token) ? answer(200, 'OK') : answer(503, 'Unavailable');
