;; A request needs an `x-api-key`. Without one the client gets a 403; with one the application gets `x-checked: yes`
;; and not the key. A counter says how many requests were denied.
(module
  (import "env" "proxy_get_header_map_value"
    (func $get_header (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value"
    (func $add_header (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_remove_header_map_value"
    (func $remove_header (param i32 i32 i32) (result i32)))
  (import "env" "proxy_send_local_response"
    (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_define_metric"
    (func $define_metric (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_increment_metric"
    (func $increment_metric (param i32 i64) (result i32)))

  (memory (export "memory") 1)
  (data (i32.const 64) "x-api-key")
  (data (i32.const 80) "x-checked")
  (data (i32.const 96) "yes")
  (data (i32.const 112) "an API key is needed\n")
  (data (i32.const 144) "api_key.denied")

  ;; The host writes the metric's number to 0, a value's address to 4 and its size to 8.
  (global $free (mut i32) (i32.const 1024))
  (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    (global.get $free)
    (global.set $free (i32.add (global.get $free) (local.get $size))))

  (func (export "proxy_on_configure") (param $root i32) (param $size i32) (result i32)
    ;; a counter (0)
    (i32.eqz (call $define_metric (i32.const 0) (i32.const 144) (i32.const 14) (i32.const 0))))

  (func (export "proxy_on_request_headers") (param $id i32) (param $count i32) (param $last i32) (result i32)
    ;; the request's headers (0)
    (if (call $get_header (i32.const 0) (i32.const 64) (i32.const 9) (i32.const 4) (i32.const 8))
      (then
        (drop (call $increment_metric (i32.load (i32.const 0)) (i64.const 1)))
        (drop (call $reply
          (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 112) (i32.const 21)
          (i32.const 0) (i32.const 0) (i32.const -1)))
        (return (i32.const 1)))) ;; StopIteration
    (drop (call $remove_header (i32.const 0) (i32.const 64) (i32.const 9)))
    (drop (call $add_header (i32.const 0) (i32.const 80) (i32.const 9) (i32.const 96) (i32.const 3)))
    (i32.const 0))) ;; Continue
