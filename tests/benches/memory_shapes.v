// Memories of many shapes, for synthesis to map to block RAMs.

`timescale 1ns / 1ns

// One port writes, GRAIN bits an enable, another reads. FILLED words at first, behind them zeros,
// which synthesis need not be told.
module two_ports #(
    parameter WIDTH = 8, DEPTH = 512, GRAIN = WIDTH, FILLED = 0, ABITS = $clog2(DEPTH)
) (
    input clk, input [WIDTH/GRAIN-1:0] write, input enable,
    input [ABITS-1:0] target, source, input [WIDTH-1:0] data, output reg [WIDTH-1:0] q
);
    (* ram_style = "block" *) reg [WIDTH-1:0] memory [0:DEPTH-1];
    integer i;
    initial begin
        q = 0;
`ifndef YOSYS
        for (i = 0; i < DEPTH; i = i + 1) memory[i] = 0;
`endif
        for (i = 0; i < FILLED; i = i + 1) memory[i] = 40503 * i ^ i >> 3;
    end
    always @(posedge clk) begin
        for (i = 0; i < WIDTH / GRAIN; i = i + 1)
            if (write[i]) memory[target][i*GRAIN +: GRAIN] <= data[i*GRAIN +: GRAIN];
        if (enable) q <= memory[source];
    end
endmodule

// One port; what it shows of a write: 0 what it showed, 1 the new word, 2 the old word.
module one_port #(parameter WIDTH = 8, DEPTH = 512, MODE = 0, ABITS = $clog2(DEPTH)) (
    input clk, write, enable, input [ABITS-1:0] address,
    input [WIDTH-1:0] data, output reg [WIDTH-1:0] q
);
    (* ram_style = "block" *) reg [WIDTH-1:0] memory [0:DEPTH-1];
    integer i;
    initial begin
        q = 0;
`ifndef YOSYS
        for (i = 0; i < DEPTH; i = i + 1) memory[i] = 0;
`endif
    end
    always @(posedge clk)
        if (enable) begin
            if (write) memory[address] <= data;
            if (!write || MODE == 2) q <= memory[address];
            else if (MODE == 1) q <= data;
        end
endmodule

// Two ports that both read or write.
module both_ports #(parameter WIDTH = 8, DEPTH = 1024, ABITS = $clog2(DEPTH)) (
    input clk, input [1:0] write, input [ABITS-1:0] a, b,
    input [WIDTH-1:0] data, output reg [WIDTH-1:0] q_a, q_b
);
    (* ram_style = "block" *) reg [WIDTH-1:0] memory [0:DEPTH-1];
    integer i;
    initial begin
        q_a = 0;
        q_b = 0;
`ifndef YOSYS
        for (i = 0; i < DEPTH; i = i + 1) memory[i] = 0;
`endif
    end
    always @(posedge clk)
        if (write[0]) memory[a] <= data;
        else q_a <= memory[a];
    always @(posedge clk)
        if (write[1]) memory[b] <= ~data;
        else q_b <= memory[b];
endmodule

module SHAPES (
    input clk, input [3:0] write, input enable,
    input [13:0] target, source, anywhere, input [35:0] data,
    output [35:0] words, output [31:0] lanes, output [17:0] halves, output [8:0] bytes,
    output [3:0] nibbles, output [1:0] pairs, output bits, output [7:0] rom, output [39:0] wide,
    output [7:0] kept, fresh, stale, output [15:0] both_a, both_b, output [3:0] digits
);
    two_ports #(.WIDTH(36), .GRAIN(9), .FILLED(99)) words_ram (
        clk, write, enable, target, source, data, words);
    two_ports #(.WIDTH(32), .GRAIN(8), .DEPTH(300)) lanes_ram (
        clk, write, 1'b1, target[7:0], source[7:0], data[31:0], lanes);
    two_ports #(.WIDTH(18), .DEPTH(1024), .FILLED(99)) halves_ram (
        clk, write[0], enable, target, source, data, halves);
    two_ports #(.WIDTH(9), .DEPTH(2048)) bytes_ram (
        clk, write[1], 1'b1, target, source, data, bytes);
    two_ports #(.WIDTH(4), .DEPTH(4096), .FILLED(99)) nibbles_ram (
        clk, write[0], 1'b1, target, source, data, nibbles);
    two_ports #(.WIDTH(2), .DEPTH(8192)) pairs_ram (
        clk, write[1], enable, target, source, data, pairs);
    two_ports #(.WIDTH(1), .DEPTH(16384)) bits_ram (
        clk, write[2], enable, target, source, data, bits);
    two_ports #(.WIDTH(8), .DEPTH(1500), .FILLED(700)) rom_ram (
        clk, 1'b0, 1'b1, 11'b0, {1'b0, anywhere[9:0]}, 8'b0, rom);
    two_ports #(.WIDTH(40), .DEPTH(700)) wide_ram (
        clk, write[3], 1'b1, target[8:0], source[8:0], {data[3:0], data}, wide);
    one_port #(.MODE(0)) kept_ram (clk, write[0], enable, target, data, kept);
    one_port #(.MODE(1)) fresh_ram (clk, write[1], enable, target, data, fresh);
    one_port #(.MODE(2)) stale_ram (clk, write[2], 1'b1, target, data, stale);
    one_port #(.WIDTH(4), .DEPTH(4096)) digits_ram (clk, write[3], enable, target, data, digits);
    both_ports #(.WIDTH(16)) both_ram (clk, write[1:0], target, source, data, both_a, both_b);
endmodule
