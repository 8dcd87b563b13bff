// A block RAM of 512 rows of four bytes with two ports, which ECP5's and Gowin's are alike in: what
// dp16kd.v and gowin_memories.v have in common.
//
// A port's address counts bits, eight a byte. Ports of two or four bytes take a byte enable each
// from the lowest bits of their address. What a read gives of bits that the other port writes in
// the same cycle is not defined; here they are the complement of what they were, so that a design
// which counts on them fails.

`timescale 1ns / 1ns

module tilewright_block_ram #(
    parameter BYTE = 9,                  // bits of a byte, 8 or 9
    parameter WIDTH_A = 9, WIDTH_B = 9,  // 1, 2, 4, BYTE, 2 * BYTE or 4 * BYTE
    // What a port that writes then shows: 0 what it showed, 1 the word after, 2 the word before.
    parameter MODE_A = 0, MODE_B = 0,
    parameter STRIDE = 2 * BYTE,         // bits of INIT that half a row takes
    parameter [1024*STRIDE-1:0] INIT = 0
) (
    input clk_a, enable_a, write_a,
    input [13:0] address_a,
    input [4*BYTE-1:0] data_a,
    output reg [4*BYTE-1:0] q_a,
    input clk_b, enable_b, write_b,
    input [13:0] address_b,
    input [4*BYTE-1:0] data_b,
    output reg [4*BYTE-1:0] q_b
);
    localparam ROW = 4 * BYTE;

    reg [ROW-1:0] memory [0:511];

    // Where in its row a word begins.
    function [5:0] place(input integer width, input [4:0] address);
        place = width == ROW ? 0 : width == 2 * BYTE ? width * address[4]
            : BYTE * address[4:3] + (width == BYTE ? 0 : address[2:0] & -width);
    endfunction

    // The bits of a word that a write changes.
    function [ROW-1:0] enabled(input integer width, input [3:0] enables);
        enabled = width == ROW
            ? {{BYTE{enables[3]}}, {BYTE{enables[2]}}, {BYTE{enables[1]}}, {BYTE{enables[0]}}}
            : width == 2 * BYTE ? {{BYTE{enables[1]}}, {BYTE{enables[0]}}}
            : ~({ROW{1'b1}} << width);
    endfunction

    wire [8:0] row_a = address_a[13:5], row_b = address_b[13:5];
    wire [5:0] place_a = place(WIDTH_A, address_a[4:0]), place_b = place(WIDTH_B, address_b[4:0]);
    wire [ROW-1:0] writes_a = enable_a && write_a ? enabled(WIDTH_A, address_a[3:0]) << place_a : 0;
    wire [ROW-1:0] writes_b = enable_b && write_b ? enabled(WIDTH_B, address_b[3:0]) << place_b : 0;
    wire [ROW-1:0] by_a = row_a == row_b ? writes_a : 0, by_b = row_a == row_b ? writes_b : 0;
    wire [ROW-1:0] kept_a = memory[row_a] & ~by_b | data_b << place_b & by_b;
    wire [ROW-1:0] kept_b = memory[row_b] & ~by_a | data_a << place_a & by_a;
    wire [ROW-1:0] new_a = kept_a & ~writes_a | data_a << place_a & writes_a;
    wire [ROW-1:0] new_b = kept_b & ~writes_b | data_b << place_b & writes_b;
    wire [ROW-1:0] before_a = memory[row_a] ^ by_b, before_b = memory[row_b] ^ by_a;

    always @(posedge clk_a)
        if (enable_a) begin
            if (write_a) memory[row_a] <= new_a;
            if (!write_a || MODE_A == 2) q_a <= before_a >> place_a;
            else if (MODE_A == 1) q_a <= new_a >> place_a;
        end

    always @(posedge clk_b)
        if (enable_b) begin
            if (write_b) memory[row_b] <= new_b;
            if (!write_b || MODE_B == 2) q_b <= before_b >> place_b;
            else if (MODE_B == 1) q_b <= new_b >> place_b;
        end

    integer i;
    initial begin
        for (i = 0; i < 512; i = i + 1)
            memory[i] = {INIT[(2*i+1)*STRIDE +: 2*BYTE], INIT[2*i*STRIDE +: 2*BYTE]};
        q_a = 0;
        q_b = 0;
    end
endmodule
